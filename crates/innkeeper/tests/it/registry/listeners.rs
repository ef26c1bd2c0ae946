//! Who is told of names given and taken, and what is kept about a registry as a whole.

use innkeeper::{ExitReason, Registry, RegistryEvent};
use tokio::sync::broadcast::error::TryRecvError;

use super::{Names, end};
use crate::support::{Log, Order, script};

fn told(event: RegistryEvent<&'static str, Order, u32>) -> String {
    match event {
        RegistryEvent::Registered { key, value, .. } => format!("{key} {value}"),
        RegistryEvent::Unregistered { key, ended, .. } => format!("{key} {ended:?}"),
        _ => "something new".to_owned(),
    }
}

/// REG-07, and R-28: a crash is told too.
#[tokio::test(start_paused = true)]
async fn listeners_hear_of_every_name_given_and_taken_and_why() {
    let names: Names = Names::new();
    let log = Log::new();
    let (one, two) = (script(&log).await, script(&log).await);
    names.register("before", &one, 0).unwrap();
    let (mut first, mut second) = (names.events(), names.events());
    names.register("lobby", &one, 1).unwrap();
    names.register("lobby", &two, 2).unwrap_err();
    names.unregister(&"lobby", &one);
    names.unregister(&"lobby", &one);
    end(&one).await;
    names.register("lobby", &two, 3).unwrap();
    for events in [&mut first, &mut second] {
        let Ok(RegistryEvent::Registered { process, .. }) = events.try_recv() else {
            panic!("the first event is a name given");
        };
        assert_eq!(process, one);
        let heard: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).map(told).collect();
        let killed = format!("before {:?}", Some(ExitReason::Killed));
        assert_eq!(heard, ["lobby None".to_owned(), killed, "lobby 3".to_owned()]);
    }
}

/// P11: nobody waits for a listener, and one that is slow is told so.
#[tokio::test(start_paused = true)]
async fn a_listener_that_falls_behind_is_told_how_much_it_missed() {
    let names: Registry<usize, Order> = Registry::new();
    let script = script(&Log::new()).await;
    let mut events = names.events();
    let many = innkeeper::limits::EVENTS + 7;
    for n in 0..many {
        names.register(n, &script, ()).unwrap();
    }
    assert_eq!(events.try_recv().unwrap_err(), TryRecvError::Lagged(7));
    drop(events);
    end(&script).await;
    assert_eq!(names.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_about_a_registry_is_found_by_its_type() {
    #[derive(Debug, PartialEq)]
    struct Limit(u32);
    let names: Names = Names::new();
    assert_eq!(names.meta::<Limit>(), None);
    assert_eq!(names.put_meta(Limit(1)), None);
    names.put_meta("a text");
    assert_eq!(names.put_meta(Limit(2)).as_deref(), Some(&Limit(1)));
    assert_eq!(names.clone().meta::<Limit>().as_deref(), Some(&Limit(2)));
    assert_eq!(names.delete_meta::<Limit>().as_deref(), Some(&Limit(2)));
    assert_eq!((names.meta::<Limit>(), names.delete_meta::<Limit>()), (None, None));
    assert_eq!(names.meta::<&str>().as_deref(), Some(&"a text"));
}
