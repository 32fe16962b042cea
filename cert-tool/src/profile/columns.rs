//! [`Columns`]: the values of a row, which the templates of a profile use.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use batch_file::Cells;
use hub_types::IdentityId;

/// The choice of a profile for one certificate, and the values that its templates use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileRow {
    /// The name of a profile; `None` for that of the whole call.
    pub profile: Option<String>,
    /// The columns of the row.
    pub columns: Columns,
}

/// The values of a row by the names of their columns. Secret columns are not among them.
#[derive(Debug, Clone, Default)]
pub struct Columns(Values);

#[derive(Debug, Clone, Default)]
enum Values {
    #[default]
    None,
    Cells(Cells),
    Map(Arc<BTreeMap<String, String>>),
}

impl Columns {
    /// The value of a column, empty where the row says nothing; `None` where there is no such column.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        match &self.0 {
            Values::None => None,
            Values::Cells(cells) => cells.get(name),
            Values::Map(map) => map.get(name).map(|value| Cow::Borrowed(value.as_str())),
        }
    }

    /// All names with their values, sorted by name.
    pub(crate) fn to_map(&self) -> BTreeMap<String, String> {
        match &self.0 {
            Values::None => BTreeMap::new(),
            Values::Cells(cells) => {
                cells.iter().map(|(name, text)| (name.to_owned(), text.into_owned())).collect()
            }
            Values::Map(map) => map.as_ref().clone(),
        }
    }
}

impl From<Cells> for Columns {
    fn from(cells: Cells) -> Self {
        Self(Values::Cells(cells))
    }
}

impl From<BTreeMap<String, String>> for Columns {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self(if map.is_empty() { Values::None } else { Values::Map(Arc::new(map)) })
    }
}

impl PartialEq for Columns {
    fn eq(&self, other: &Self) -> bool {
        self.to_map() == other.to_map()
    }
}

impl Eq for Columns {}

/// An identity and its row, as templates see them.
#[derive(Clone, Copy)]
pub(crate) struct RowValues<'a> {
    pub(crate) identity: &'a IdentityId,
    pub(crate) columns: &'a Columns,
}

impl<'a> RowValues<'a> {
    /// The value of a name: of the identity itself, or of a column.
    pub(crate) fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        match name {
            "device_id" => Some(Cow::Borrowed(self.identity.device().as_str())),
            "module_id" => Some(Cow::Borrowed(self.identity.module().map_or("", |module| module.as_str()))),
            _ => self.columns.get(name),
        }
    }
}
