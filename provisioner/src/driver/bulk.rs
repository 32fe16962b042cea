//! Bulk calls: throttled items are sent again, a refused call is halved down to the item at fault, and what
//! is lost is told so.

use super::event::Event;
use crate::hub::{ErrorClass, HubError, Patient, Pauses};

/// A call of a service that takes many items.
pub(crate) trait BulkCall: Sync {
    /// An item.
    type Item: Clone + Send + Sync;
    /// The service.
    type Service: Patient;

    /// The service that is called.
    fn service(&self) -> &Self::Service;

    /// Makes one call, and returns an event for each item. An error means the call as a whole.
    fn call(&self, items: &[Self::Item]) -> impl Future<Output = Result<Vec<Event>, HubError>> + Send;
}

/// Sends items that create, and sends those again of which the answer is lost: a creation changes
/// nothing that is there, and costs one call where asking what became of each item costs a
/// hundred. What then exists already may be the lost call's own work, and so may what is refused for
/// another reason, so both have to be looked at.
pub(crate) async fn send_new<C: BulkCall>(call: &C, items: &[C::Item]) -> Result<Vec<Event>, HubError> {
    let mut events = send(call, items).await?;
    for _ in 0..RESENDS {
        let lost = those(items, &events, is_lost);
        if lost.is_empty() {
            break;
        }
        let answers = send(call, &lost).await?.into_iter().map(|event| match event {
            Event::AlreadyExists => Event::Lost(HubError::NoAnswer),
            Event::Refused(error) => Event::Lost(error),
            event => event,
        });
        replace_those(&mut events, is_lost, answers);
    }
    Ok(events)
}

/// Sends items and returns an event for each. Throttled items are sent again until the service accepts
/// them, because they had no effect and are not at fault.
pub(crate) async fn send<C: BulkCall>(call: &C, items: &[C::Item]) -> Result<Vec<Event>, HubError> {
    let mut events = send_once(call, items).await?;
    let mut pauses = Pauses::new();
    loop {
        let throttled = those(items, &events, is_throttled);
        if throttled.is_empty() {
            return Ok(events);
        }
        tracing::debug!(
            items = throttled.len(),
            "items of a bulk call are throttled; they will be sent again"
        );
        if !pauses.wait(call.service()).await? {
            return Err(first_throttled(events));
        }
        let answers = send_once(call, &throttled).await?;
        replace_those(&mut events, is_throttled, answers);
    }
}

/// Sends items in one call and returns an event for each. If the service refuses the call as a whole, its
/// halves are sent, down to the item at fault.
async fn send_once<C: BulkCall>(call: &C, items: &[C::Item]) -> Result<Vec<Event>, HubError> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    match call.call(items).await {
        Ok(events) => Ok(events),
        Err(error) if error.effect_is_unknown() => {
            tracing::warn!(%error, items = items.len(), "the answer to a bulk call was lost; its items will be read");
            Ok(items.iter().map(|_| Event::Lost(HubError::NoAnswer)).collect())
        }
        Err(error) if error.class() != ErrorClass::Input => Err(error),
        Err(error) if items.len() == 1 => Ok(vec![Event::Refused(error)]),
        Err(_) => {
            let (left, right) = items.split_at(items.len() / 2);
            let mut events = Box::pin(send_once(call, left)).await?;
            events.extend(Box::pin(send_once(call, right)).await?);
            Ok(events)
        }
    }
}

/// The number of times that creations are sent again before their state is read.
const RESENDS: usize = 3;

fn is_lost(event: &Event) -> bool {
    matches!(event, Event::Lost(_))
}

fn is_throttled(event: &Event) -> bool {
    matches!(event, Event::Refused(error) if error.class() == ErrorClass::Throttled)
}

fn first_throttled(events: Vec<Event>) -> HubError {
    let throttled = events.into_iter().filter(is_throttled).find_map(|event| match event {
        Event::Refused(error) => Some(error),
        _ => None,
    });
    throttled.unwrap_or(HubError::Unclear)
}

/// The items whose events are such.
fn those<I: Clone>(items: &[I], events: &[Event], are_such: fn(&Event) -> bool) -> Vec<I> {
    items.iter().zip(events).filter(|(_, event)| are_such(event)).map(|(item, _)| item.clone()).collect()
}

/// Puts new events in the place of those that are such.
fn replace_those(
    events: &mut [Event],
    are_such: fn(&Event) -> bool,
    answers: impl IntoIterator<Item = Event>,
) {
    let places = events.iter_mut().filter(|event| are_such(event));
    for (event, answer) in places.zip(answers) {
        *event = answer;
    }
}
