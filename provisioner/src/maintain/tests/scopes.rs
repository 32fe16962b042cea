//! Devices below edge devices: whatever is changed of them, they stay where they are.

use super::*;
use crate::hub::Hub;
use crate::model::options::{ApplyMode, TwinPolicy};
use crate::model::scopes::Scopes;

const UPSERT: ApplyRules = ApplyRules { mode: ApplyMode::Upsert, twin: TwinPolicy::Initial };
/// An edge device with a module, an edge device below it and a leaf below it.
const UNITS: [(&str, bool, Option<&str>); 4] = [
    ("gate", true, None),
    ("gate/x", false, None),
    ("child", true, Some("gate")),
    ("leaf", false, Some("gate")),
];

fn units(primary: &str, secondary: Option<&str>) -> Vec<IdentitySpec> {
    let unit = |(name, edge, parent): &(&str, bool, Option<&str>)| {
        let mut unit = spec(name, primary, secondary);
        (unit.state.edge, unit.state.parent) = (*edge, parent.map(|parent| parent.parse().unwrap()));
        unit
    };
    UNITS.iter().map(unit).collect()
}

impl Factory {
    async fn in_place() -> Self {
        let factory = Self::new(Modules::InBulk);
        let (gate, below) =
            units("AA", None).into_iter().partition::<Vec<_>, _>(|unit| unit.state.parent.is_none());
        for rows in [gate, below] {
            let run = factory.apply(ApplyRules::default(), &rows).await;
            let totals = factory.ledger.lock().totals(run).unwrap();
            assert_eq!(totals.created, totals.rows, "{:?}", factory.reasons(run));
        }
        factory
    }

    async fn places(&self) -> Vec<Scopes> {
        let mut places = Vec::new();
        for name in ["gate", "child", "leaf"] {
            let device = self.hub.device(&name.parse().unwrap()).await.unwrap();
            places.push(device.map(|device| Scopes::of_device(&device)).unwrap_or_default());
        }
        places
    }

    async fn upsert(&self, rows: &[IdentitySpec]) -> Totals {
        let run = self.apply(UPSERT, rows).await;
        assert_eq!(self.reasons(run), [], "{rows:#?}");
        self.ledger.lock().totals(run).unwrap()
    }
}

#[tokio::test]
async fn devices_keep_their_scopes_whatever_is_changed_of_them() {
    let factory = Factory::in_place().await;
    let places = factory.places().await;
    let [gate, child, leaf] = &places[..] else { panic!("{places:?}") };
    assert!(gate.device.as_ref().is_some_and(|own| own.starts_with("ms-azure-iot-edge://gate-")), "{gate:?}");
    assert_ne!(child.device, gate.device);
    assert_eq!(child.parents.as_deref(), gate.device.clone().map(|scope| vec![scope]).as_deref());
    assert_eq!(leaf.device, gate.device);

    let both = units("BB", Some("AA"));
    for (maintenance, updated) in [
        (Maintenance::AddThumbprint, 4),
        (disable(), 3),
        (Maintenance::Release { run: None }, 3),
        (Maintenance::DropNewThumbprint, 4),
    ] {
        let (run, totals) = factory.maintain_all(maintenance.clone(), &both).await;
        assert_eq!(totals.updated, updated, "{maintenance:?}: {:?}", factory.reasons(run));
        assert_eq!(factory.places().await, places, "{maintenance:?}");
    }
    assert_eq!(factory.upsert(&units("CC", None)).await.updated, 4);
    assert_eq!(factory.places().await, places);
    let mut quarantined = units("CC", None);
    let devices = quarantined.iter_mut().filter(|unit| unit.identity.module().is_none());
    devices.for_each(|unit| unit.state.quarantine());
    assert_eq!(factory.upsert(&quarantined).await.updated, 3);
    assert_eq!(factory.places().await, places);
}

#[tokio::test]
async fn a_parent_is_changed_by_a_batch_that_names_another_one_or_none() {
    let factory = Factory::in_place().await;
    let places = factory.places().await;
    let mut alone = units("AA", None);
    alone.iter_mut().for_each(|unit| unit.state.parent = None);
    assert_eq!(factory.upsert(&alone).await.updated, 2);
    let [gate, child, leaf] = &places[..] else { panic!("{places:?}") };
    let expected = [gate.clone(), child.clone().below(None), Scopes::default()];
    assert_eq!(factory.places().await, expected);
    assert_eq!(factory.upsert(&units("AA", None)).await.updated, 2);
    assert_eq!(factory.places().await, [gate.clone(), child.clone(), leaf.clone()]);
}

#[tokio::test]
async fn what_is_below_a_device_that_is_gone_is_retired_where_it_is() {
    let factory = Factory::in_place().await;
    let places = factory.places().await;
    factory.hub.delete(&identity("gate"), None).await.unwrap();
    let below: Vec<_> = units("AA", None).into_iter().filter(|unit| unit.state.parent.is_some()).collect();
    let (run, totals) = factory.maintain_all(disable(), &below).await;
    assert_eq!(totals.updated, 2, "{:?}", factory.reasons(run));
    assert_eq!(factory.places().await[1..], places[1..]);
}
