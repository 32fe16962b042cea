use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, MovableClock, SystemClock};

fn injector(faults: Faults) -> (Injector, Arc<MovableClock>) {
    let clock = Arc::new(MovableClock::over(Arc::new(SystemClock)));
    clock.stop();
    let injector = Injector::new(Arc::clone(&clock) as Arc<dyn Clock>);
    injector.set(faults);
    (injector, clock)
}

fn problem(text: &str) -> String {
    Faults::parse(text).unwrap_err().to_string()
}

#[test]
fn mistakes_in_a_file_are_named() {
    let cases = [
        ("[[fault]]", "fault 1: `effect` is missing; there are status, reset"),
        ("[[fault]]\neffect = 'boom'", "`boom` is not an effect"),
        (
            "[[fault]]\neffect = 'reset'\n[[fault]]\neffect = 'delay'",
            "fault 2: the effect `delay` needs `seconds`",
        ),
        ("[[fault]]\neffect = 'delay'\nseconds = -1", "`seconds` must be a number of seconds from 0 on"),
        ("[[fault]]\neffect = 'status'\nstatus = 200", "from 400 to 599"),
        ("[[fault]]\neffect = 'status'\nstatus = 404", "a `status` of 404 needs `code`"),
        ("[[fault]]\neffect = 'status'\nstatus = 404\ncode = 'Nope'", "`Nope` is not an error code"),
        ("[[fault]]\neffect = 'status'\nstatus = 500\ncode = 'ServerBusy'", "goes with status 503, not 500"),
        ("[[fault]]\neffect = 'reset'\nstatus = 500", "the effect `reset` has no `status`"),
        ("[[fault]]\neffect = 'reset'\nprobability = 1.5", "from 0 to 1"),
        ("[[fault]]\neffect = 'drip'\nbytes_per_second = 0", "at least 1"),
        ("[[fault]]\neffect = 'reset'\nfrom = 5\nuntil = 5", "`until` is not after `from`"),
        ("[[faults]]\neffect = 'reset'", "line 1, column 3: a key is unknown: `faults`"),
        ("[[fault]]\neffect = 'reset'\nchance = 0.5", "line 3, column 1: a key is unknown: `chance`"),
    ];
    for (text, wanted) in cases {
        let problem = problem(text);
        assert!(problem.contains(wanted), "{text}\n gave {problem}");
    }
}

#[test]
fn an_operation_that_is_none_is_named_with_those_there_are() {
    let faults = Faults { seed: 0, faults: vec![Fault::always(Effect::Reset).of("PutTwins")] };
    let error = faults.check_operations(&["GetTwin", "PutTwin"]).unwrap_err().to_string();
    assert_eq!(error, "fault 1: `PutTwins` is not an operation; the operations are GetTwin, PutTwin");
}

#[test]
fn skip_count_and_window_bound_a_fault() {
    let fault = Fault {
        skip: 2,
        count: Some(3),
        from: Duration::from_secs(10),
        until: Some(Duration::from_secs(20)),
        ..Fault::always(Effect::Reset).of("GetTwin")
    };
    let (injector, clock) = injector(Faults { seed: 0, faults: vec![fault] });
    let hits =
        |requests: usize| (0..requests).filter(|_| injector.inject("GetTwin").effect.is_some()).count();
    assert_eq!(hits(1), 0);
    clock.advance(time::Duration::seconds(10));
    assert_eq!(injector.inject("PutTwin").effect, None);
    // One more is skipped, three are hit.
    assert_eq!((hits(1), hits(2)), (0, 2));
    clock.advance(time::Duration::seconds(10));
    assert_eq!(hits(5), 0);
    clock.advance(time::Duration::seconds(-5));
    assert_eq!((hits(1), hits(5)), (1, 0));
}

#[test]
fn delays_add_up_and_of_other_effects_the_first_counts() {
    let delay = Fault::always(Effect::Delay(Duration::from_millis(30)));
    let faults = vec![
        delay.clone(),
        Fault::always(Effect::LoseAnswer),
        delay,
        Fault::always(Effect::Reset).of("Query"),
    ];
    let (injector, _) = injector(Faults { seed: 0, faults });
    let injected = injector.inject("Query");
    assert_eq!((injected.delay, injected.effect), (Duration::from_millis(60), Some(Effect::LoseAnswer)));
}

#[test]
fn a_probability_is_met_over_many_requests() {
    let fault = Fault::always(Effect::Reset).with_probability(0.1);
    let (injector, _) = injector(Faults { seed: 5, faults: vec![fault] });
    let hits = (0..10_000).filter(|_| injector.inject("Query").effect.is_some()).count();
    assert!((850..1150).contains(&hits), "{hits}");
}

proptest! {
    /// The same seed and the same requests of each operation give the same faults, in any order of
    /// the operations.
    #[test]
    fn faults_can_be_replayed(
        seed in any::<u64>(),
        order in Just((0..60).map(|n| n % 3).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        const OPERATIONS: [&str; 3] = ["GetTwin", "PatchTwin", "Query"];
        let faults = Faults {
            seed,
            faults: vec![
                Fault::always(Effect::Reset).with_probability(0.3),
                Fault::always(Effect::LoseAnswer).of("PatchTwin").with_probability(0.5).times(4),
            ],
        };
        let run = |order: &[usize]| {
            let (injector, _) = injector(faults.clone());
            let mut seen = [vec![], vec![], vec![]];
            for operation in order {
                seen[*operation].push(injector.inject(OPERATIONS[*operation]).effect);
            }
            seen
        };
        let in_turn: Vec<usize> = (0..60).map(|n| n % 3).collect();
        prop_assert_eq!(run(&order), run(&in_turn));
    }

    /// Faults that are written as JSON are read back unchanged.
    #[test]
    fn faults_survive_being_written_as_json(
        seed in any::<u64>(),
        probability in 0.0..=1.0_f64,
        skip in 0_u64..9,
        count in proptest::option::of(0_u64..9),
        effect in prop_oneof![
            Just(Effect::Reset), Just(Effect::LoseAnswer), Just(Effect::HalfAnswer), Just(Effect::StalePage),
            Just(Effect::Hang(None)), Just(Effect::Delay(Duration::from_millis(50))), (1_u32..9).prop_map(Effect::Drip),
            Just(Effect::Status { status: 503, code: Some(ErrorCode::ServerBusy), retry_after: Some(3) }),
            Just(Effect::Status { status: 502, code: None, retry_after: None }),
        ],
    ) {
        let fault = Fault { probability, skip, count, ..Fault::always(effect) };
        let faults = Faults { seed, faults: vec![fault] };
        let text = faults.to_json().to_string();
        prop_assert_eq!(Faults::parse_json(text.as_bytes()), Ok(faults));
    }
}
