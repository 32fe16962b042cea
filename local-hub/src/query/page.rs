//! The execution of a query, one page at a time.
//!
//! A scan runs in steps and holds the registry's lock only during a step, so that a query over a
//! million devices does not block other operations. At the end of a page, the continuation token
//! names its last identity: identities that are created or deleted between two pages are not
//! repeated and do not shift the others.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hub_types::{DeviceId, ErrorCode, IdentityId, ModuleId};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::QuerySource;
use super::aggregate::Groups;
use super::syntax::{Collection, Column, Query, Select};
use crate::api_error::{ApiError, ApiResult};
use crate::registry::{Datum, DeviceRecord, Registry, Shape, TwinDocument};

/// The value of `x-ms-item-type` for the rows. C# reads it case-sensitively.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemType {
    DeviceJob,
    Raw,
    Twin,
}

impl ItemType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::DeviceJob => "DeviceJob",
            Self::Raw => "Raw",
            Self::Twin => "Twin",
        }
    }
}

/// The query and the position of a page.
#[derive(Debug)]
pub(crate) struct PageRequest<'a> {
    pub(crate) query: &'a Query,
    /// The query's text as it was sent: a continuation token is valid for this text only.
    pub(crate) text: &'a str,
    pub(crate) size: usize,
    pub(crate) continuation: Option<&'a str>,
    /// True if rows show the `modelId`.
    pub(crate) model_id: bool,
}

/// One page: a JSON array, and the position of the next page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) body: Vec<u8>,
    pub(crate) item_type: ItemType,
    pub(crate) continuation: Option<String>,
}

/// Runs a query up to the end of the page.
pub(crate) async fn run(source: &impl QuerySource, request: PageRequest<'_>) -> ApiResult<Page> {
    let query = request.query;
    if query.from == Collection::Jobs {
        return super::jobs::run(source, &request);
    }
    let token = request.continuation.map(|text| ContinuationToken::read(text, request.text)).transpose()?;
    if let Select::Aggregates(columns) = &query.select {
        let mut groups = Groups::new(columns, &query.group_by);
        scan(source, query, None, |twin| {
            groups.add(twin);
            Ok(Flow::Continue)
        })
        .await?;
        return Page::of_groups(&groups, query.top);
    }
    let (after, emitted) = token.map_or((None, 0), |token| (Some(token.after), token.emitted));
    let mut rows = Rows::new(query, request.size, emitted);
    let shape = Shape { model_id: request.model_id, module_capabilities: true };
    scan(source, query, after, |twin| rows.push(&twin.shaped(shape))).await?;
    Ok(rows.into_page(emitted, request.text))
}

/// Every identity that a query selects.
pub(crate) async fn identities(source: &impl QuerySource, query: &Query) -> ApiResult<Vec<IdentityId>> {
    let mut found = Vec::new();
    scan(source, query, None, |twin| {
        found.push(twin.identity());
        Ok(Flow::Continue)
    })
    .await?;
    Ok(found)
}

/// The number of identities that a query selects.
pub(crate) async fn count(source: &impl QuerySource, query: &Query) -> ApiResult<u64> {
    let mut found = 0;
    scan(source, query, None, |_| {
        found += 1;
        Ok(Flow::Continue)
    })
    .await?;
    Ok(found)
}

/// The decision to continue or end a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Continue,
    Stop,
}

/// Calls `visit` with every twin that meets the condition, in the order of ids, after `after`.
async fn scan(
    source: &impl QuerySource,
    query: &Query,
    mut after: Option<IdentityId>,
    mut visit: impl FnMut(&TwinDocument<'_>) -> ApiResult<Flow>,
) -> ApiResult<()> {
    loop {
        match source.read_registry(|registry| step(registry, query, after.as_ref(), &mut visit))? {
            None => return Ok(()),
            reached => after = reached,
        }
        // Whoever waits for the lock gets it.
        tokio::task::yield_now().await;
    }
}

/// Performs one step of a scan. Returns the position it reached; `None` at the end.
///
/// A position is an identity: a module stands for itself, a device for itself and all its modules.
fn step(
    registry: &Registry,
    query: &Query,
    after: Option<&IdentityId>,
    visit: &mut impl FnMut(&TwinDocument<'_>) -> ApiResult<Flow>,
) -> ApiResult<Option<IdentityId>> {
    let mut left = DEVICES_PER_STEP;
    for (id, device) in devices(registry, query, after) {
        let resumed = after.filter(|place| place.device() == id).and_then(IdentityId::module);
        for twin in twins(query.from, id, device, resumed) {
            let wanted = query.filter.as_ref().is_none_or(|filter| filter.holds(&twin));
            if wanted && visit(&twin)? == Flow::Stop {
                return Ok(None);
            }
        }
        left -= 1;
        if left == 0 {
            return Ok(Some(id.clone().into()));
        }
    }
    Ok(None)
}

/// The devices that remain: all of them, or those that the condition names by their ids or by the
/// ids of modules. At least as many as a step takes, if there are so many.
fn devices<'r>(
    registry: &'r Registry,
    query: &Query,
    after: Option<&IdentityId>,
) -> Box<dyn Iterator<Item = (&'r DeviceId, &'r DeviceRecord)> + 'r> {
    let start = match after {
        None => Bound::Unbounded,
        Some(place) if place.module().is_some() => Bound::Included(place.device()),
        Some(place) => Bound::Excluded(place.device()),
    };
    let named: BTreeSet<DeviceId> = if let Some(ids) = query.device_ids() {
        let ids: BTreeSet<_> = ids.into_iter().filter_map(|id| DeviceId::new(id).ok()).collect();
        ids.range::<DeviceId, _>((start, Bound::Unbounded)).cloned().collect()
    } else if let Some(ids) = query.module_ids().filter(|_| query.from == Collection::Modules) {
        let ids: Vec<_> = ids.into_iter().filter_map(|id| ModuleId::new(id).ok()).collect();
        let first = |id| registry.devices_with_module(id, start).take(DEVICES_PER_STEP);
        ids.iter().flat_map(first).cloned().collect()
    } else {
        return Box::new(registry.devices_from(start));
    };
    Box::new(named.into_iter().filter_map(|id| registry.device_entry(&id)))
}

fn twins<'r>(
    from: Collection,
    id: &'r DeviceId,
    device: &'r DeviceRecord,
    after: Option<&ModuleId>,
) -> Box<dyn Iterator<Item = TwinDocument<'r>> + 'r> {
    if from == Collection::Devices {
        return Box::new(std::iter::once(TwinDocument::of_device(id, device)));
    }
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let modules = device.modules.range::<ModuleId, _>((start, Bound::Unbounded));
    Box::new(modules.map(move |(module, record)| TwinDocument::of_module(id, module, record)))
}

/// The rows of one page, during the scan.
struct Rows<'q> {
    select: &'q Select,
    body: Vec<u8>,
    count: usize,
    /// The largest number of rows on the page.
    size: usize,
    /// True if rows beyond the page are needed, which depends on `TOP`.
    wants_more: bool,
    last: Option<IdentityId>,
    /// True if there is a row beyond the page.
    more: bool,
}

impl<'q> Rows<'q> {
    fn new(query: &'q Query, size: usize, emitted: usize) -> Self {
        let wanted = query.top.map_or(usize::MAX, |top| top.saturating_sub(emitted));
        Self {
            select: &query.select,
            body: vec![b'['],
            count: 0,
            size: size.min(wanted),
            wants_more: wanted > size,
            last: None,
            more: false,
        }
    }

    fn push(&mut self, twin: &TwinDocument<'_>) -> ApiResult<Flow> {
        if self.count == self.size {
            self.more = self.wants_more;
            return Ok(Flow::Stop);
        }
        if self.count > 0 {
            self.body.push(b',');
        }
        match self.select {
            Select::Columns(columns) => write_json(&mut self.body, &Projection { columns, twin })?,
            Select::Aggregates(_) | Select::All => write_json(&mut self.body, twin)?,
        }
        self.count += 1;
        self.last = Some(twin.identity());
        Ok(Flow::Continue)
    }

    fn into_page(mut self, emitted: usize, text: &str) -> Page {
        self.body.push(b']');
        let more = self.more;
        let continuation = self.last.filter(|_| more).map(|after| {
            let emitted = emitted + self.count;
            ContinuationToken { after, emitted }.write(text)
        });
        let item_type = match self.select {
            Select::All => ItemType::Twin,
            Select::Aggregates(_) | Select::Columns(_) => ItemType::Raw,
        };
        Page { body: self.body, item_type, continuation }
    }
}

impl Page {
    fn of_groups(groups: &Groups<'_>, top: Option<usize>) -> ApiResult<Self> {
        let mut rows = groups.rows();
        rows.truncate(top.unwrap_or(usize::MAX));
        let mut body = Vec::new();
        write_json(&mut body, &rows)?;
        Ok(Self { body, item_type: ItemType::Raw, continuation: None })
    }
}

/// A row of selected columns, without those that a twin does not have.
struct Projection<'a> {
    columns: &'a [Column],
    twin: &'a TwinDocument<'a>,
}

impl Serialize for Projection<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for column in self.columns {
            match self.twin.lookup(&column.path.0) {
                Datum::Missing => {}
                datum => map.serialize_entry(&column.name, &datum)?,
            }
        }
        map.end()
    }
}

/// The position at the end of a page.
#[derive(Debug, PartialEq)]
struct ContinuationToken {
    after: IdentityId,
    /// The number of rows on all pages so far, for `TOP`.
    emitted: usize,
}

#[derive(Serialize, Deserialize)]
struct ContinuationDocument {
    device: DeviceId,
    module: Option<ModuleId>,
    emitted: usize,
    query: u64,
}

impl ContinuationToken {
    fn write(&self, query: &str) -> String {
        let document = ContinuationDocument {
            device: self.after.device().clone(),
            module: self.after.module().cloned(),
            emitted: self.emitted,
            query: fingerprint(query),
        };
        // Ids and numbers always have a JSON form.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&document).unwrap_or_default())
    }

    fn read(text: &str, query: &str) -> ApiResult<Self> {
        let wrong = || ApiError::argument("x-ms-continuation is no token of this query");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let document: ContinuationDocument = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        if document.query != fingerprint(query) {
            return Err(wrong());
        }
        Ok(Self { after: IdentityId::new(document.device, document.module), emitted: document.emitted })
    }
}

fn fingerprint(query: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    query.hash(&mut hasher);
    hasher.finish()
}

pub(super) fn write_json(body: &mut Vec<u8>, value: &impl Serialize) -> ApiResult<()> {
    serde_json::to_writer(body, value)
        .map_err(|error| ApiError::new(ErrorCode::ServerError, error.to_string()))
}

const DEVICES_PER_STEP: usize = 2000;
