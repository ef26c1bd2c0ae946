//! Calls to processes on another node that nobody answers: each ends when its time is over, there
//! as well as here.

use innkeeper::{CallError, NotDelivered, Unknown};
use innkeeper_cluster::limits;
use tokio::time::Instant;

use super::nodes::{SECOND, Said, Say, World};

/// P6, C1
#[tokio::test(start_paused = true)]
async fn a_call_that_names_an_incarnation_ends_in_time_and_is_not_begun_after() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let room = a.room(&b.key()).await;
    let began = Instant::now();
    let held = room.call(Say::Hold("gate".to_owned())).without_timeout();
    let behind = room.call(Say::Add(7)).without_timeout();
    let (held, behind) = tokio::join!(held, behind);
    assert!(matches!(held, Err(CallError::Unknown(Unknown::Timeout))), "{held:?}");
    match behind {
        Err(CallError::NotDelivered { message: Say::Add(7), why: NotDelivered::Timeout }) => {}
        Err(CallError::Unknown(Unknown::Timeout)) => {}
        other => panic!("{other:?}"),
    }
    let (took, longest) = (began.elapsed(), limits::CALL_TIME_MAX);
    assert!(took >= longest && took < longest + SECOND, "{took:?}");
    // Whoever has waited there for it has given up as well, so it does not run now.
    tokio::time::sleep(SECOND).await;
    world.house.gate("gate").notify_one();
    assert_eq!(room.call(Say::Add(1)).await.unwrap(), Said::Number(1));
}
