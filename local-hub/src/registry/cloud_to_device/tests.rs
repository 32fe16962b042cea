use hub_types::IfMatch;
use proptest::prelude::*;

use super::*;
use crate::registry::DevicesFile;

fn at(minute: u64) -> Timestamp {
    Timestamp::from_ticks(638_000_000_000_000_000 + minute * 600_000_000).unwrap()
}

fn id(device: u8) -> DeviceId {
    DeviceId::new(&format!("d{device}")).unwrap()
}

#[derive(Debug, Clone)]
enum QueueEvent {
    Send {
        device: u8,
        expires: u64,
    },
    Complete {
        device: u8,
        sequence: u64,
    },
    Purge {
        device: u8,
    },
    /// The device is deleted and created again.
    Replace {
        device: u8,
    },
    /// Looks for expired messages at this minute.
    LookAt {
        minute: u64,
    },
    /// The hub ends and restarts with the content of its store.
    Restart,
}

fn step() -> impl Strategy<Value = QueueEvent> {
    let device = || 0..3_u8;
    prop_oneof![
        6 => (device(), 0..50_u64).prop_map(|(device, expires)| QueueEvent::Send { device, expires }),
        2 => (device(), 1..9_u64).prop_map(|(device, sequence)| QueueEvent::Complete { device, sequence }),
        1 => device().prop_map(|device| QueueEvent::Purge { device }),
        1 => device().prop_map(|device| QueueEvent::Replace { device }),
        3 => (0..50_u64).prop_map(|minute| QueueEvent::LookAt { minute }),
        1 => Just(QueueEvent::Restart),
    ]
}

fn create(registry: &mut Registry, device: u8) {
    let file = serde_json::json!({ id(device).as_str(): {"identity": {}} });
    let file: DevicesFile = serde_json::from_value(file).unwrap();
    registry.import(file, at(0), &mut Journal::default()).unwrap();
}

fn message(expires: u64) -> NewMessage {
    NewMessage { properties: String::new(), payload: b"x".to_vec(), expires: at(expires) }
}

/// The sequence numbers and expiries of the waiting messages, device by device.
fn waiting(registry: &Registry) -> Vec<Vec<(u64, Option<Timestamp>)>> {
    let queues = (0..3).map(|device| registry.device(&id(device)).unwrap().messages.as_deref());
    let of = |queue: &MessageQueue| {
        queue.waiting.iter().map(|message| (message.sequence, message.expires)).collect()
    };
    queues.map(|queue| queue.map(of).unwrap_or_default()).collect()
}

proptest! {
    #[test]
    fn what_has_expired_goes_and_nothing_else(steps in proptest::collection::vec(step(), 1..80)) {
        let mut registry = Registry::default();
        (0..3).for_each(|device| create(&mut registry, device));
        let mut journal = Journal::default();
        for step in steps {
            match step {
                QueueEvent::Send { device, expires } => {
                    // Full queues are refused.
                    let _ = registry.enqueue_message(&id(device), message(expires), at(0), &mut journal);
                }
                QueueEvent::Complete { device, sequence } => {
                    registry.complete_message(&id(device), sequence, &mut journal).unwrap();
                }
                QueueEvent::Purge { device } => {
                    registry.purge_messages(&id(device), &mut journal).unwrap();
                }
                QueueEvent::Replace { device } => {
                    registry.delete_device(&id(device), &IfMatch::Any, &mut journal).unwrap();
                    create(&mut registry, device);
                }
                QueueEvent::LookAt { minute } => {
                    let mut wanted = waiting(&registry);
                    for queue in &mut wanted {
                        queue.retain(|(_, expires)| expires.is_none_or(|expires| expires > at(minute)));
                    }
                    registry.drop_expired_messages(at(minute), &mut journal);
                    prop_assert_eq!(waiting(&registry), wanted);
                    prop_assert!(!registry.has_expired_messages(at(minute)));
                }
                QueueEvent::Restart => {
                    let again = (0..3).map(|device| {
                        let record = serde_json::to_vec(registry.device(&id(device)).unwrap()).unwrap();
                        (id(device), serde_json::from_slice(&record).unwrap())
                    });
                    let again = Registry::restored(again.collect());
                    prop_assert_eq!(waiting(&again), waiting(&registry));
                    registry = again;
                }
            }
        }
    }
}

#[test]
fn a_message_that_has_expired_is_not_delivered_and_makes_room() {
    let (mut registry, mut journal) = (Registry::default(), Journal::default());
    create(&mut registry, 0);
    for expires in 1..=50 {
        registry.enqueue_message(&id(0), message(expires), at(0), &mut journal).unwrap();
    }
    assert!(registry.enqueue_message(&id(0), message(60), at(0), &mut journal).is_err());
    let first = |registry: &Registry, minute| {
        registry.message_after(&id(0), 0, at(minute)).map(|message| message.sequence)
    };
    assert_eq!((first(&registry, 0), first(&registry, 7), first(&registry, 50)), (Some(1), Some(8), None));
    registry.enqueue_message(&id(0), message(60), at(7), &mut journal).unwrap();
    assert_eq!(registry.device(&id(0)).unwrap().message_count(), 44);
}
