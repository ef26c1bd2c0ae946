//! State reached by closures: OTP's `Agent`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use innkeeper::{
    Agent, AgentProcess, CallError, ChildSpec, ExitReason, GetError, Keyed, NotDelivered, Restart,
    Shutdown, StopError, Supervisor, Unknown,
};

use crate::support::{eventually, poll_once, secs, soon};

/// AG-04: and after its stop there is no such process.
#[tokio::test(start_paused = true)]
async fn the_state_is_read_changed_and_answered_one_closure_at_a_time() {
    let agent = Agent::start(|| vec![1]).await.unwrap();
    assert_eq!(agent.get(|state| state.len()).await.unwrap(), 1);
    agent.update(|state| state.push(2)).await.unwrap();
    agent.cast(|state| state.push(3)).await.unwrap();
    assert_eq!(agent.get_and_update(std::mem::take).await.unwrap(), [1, 2, 3]);
    assert!(agent.clone().get(Vec::is_empty).await.unwrap());
    agent.stop(secs(1)).await.unwrap();
    assert_eq!(agent.stop(secs(1)).await, Err(StopError::NotFound));
    let gone = agent.get(|state| state.len()).await.unwrap_err();
    assert!(matches!(gone, CallError::NotDelivered { why: NotDelivered::Ended, .. }));
    agent.cast(Vec::clear).await.unwrap_err();
}

/// AG-01: under a supervisor, by a child spec with what it says.
#[tokio::test(start_paused = true)]
async fn a_supervised_agent_starts_anew_after_a_crash_as_its_spec_says() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let spec = ChildSpec::new().restart(Restart::Transient).shutdown(Shutdown::BrutalKill);
    let init = Arc::new(|| 7_u64);
    let process = supervisor.start_child::<AgentProcess<u64>>("seven", init, spec).await.unwrap();
    let agent = Agent::at(process);
    agent.update(|n| *n += 1).await.unwrap();
    let crashed = agent.update(|_| panic!("told to")).await.unwrap_err();
    assert!(matches!(crashed, CallError::Unknown(Unknown::Crashed)));
    let first = agent.process().incarnation();
    eventually(|| {
        let children = supervisor.which_children();
        children[0].1.as_ref().is_some_and(|info| info.incarnation != first)
    })
    .await;
    supervisor.terminate_child("seven").await.unwrap();
}

/// AG-04, REG-28: by name, across restarts.
#[tokio::test(start_paused = true)]
async fn an_agent_with_a_key_is_reached_by_it_whichever_incarnation_there_is() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let starts = Arc::new(AtomicU64::new(0));
    let agents = Keyed::<String, AgentProcess<String>>::with_args(ChildSpec::new(), {
        let starts = starts.clone();
        move |key: &String| {
            let (key, starts) = (key.clone(), starts.clone());
            Arc::new(move || {
                starts.fetch_add(1, Ordering::SeqCst);
                key.clone()
            })
        }
    });
    let agents = agents.start(&supervisor).await.unwrap();
    let lobby = "lobby".to_owned();
    let agent = Agent::at(agents.via(&lobby));
    agent.update(|text| text.push('!')).await.unwrap();
    assert_eq!(agent.get(Clone::clone).await.unwrap(), "lobby!");
    agent.update(|_| panic!("told to")).await.unwrap_err();
    assert_eq!(agent.get(Clone::clone).timeout(secs(60)).await.unwrap(), "lobby");
    assert_eq!(starts.load(Ordering::SeqCst), 2);
    agents.stop(&lobby).await.unwrap();
    assert!(agents.whereis(&lobby).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_state_cannot_be_made_does_not_start() {
    let failed = Agent::<u8>::start(|| panic!("told to")).await.unwrap_err();
    assert_eq!(failed, GetError::InitFailed(ExitReason::Panicked("told to".into())));
}

/// P6: a closure that is too late does not run, and is handed back.
#[tokio::test(start_paused = true)]
async fn a_closure_that_was_not_begun_in_time_never_runs() {
    let agent = Agent::start(|| 0_u64).await.unwrap();
    let mut late = Box::pin(agent.update(|n| *n += 1).timeout(Duration::ZERO));
    assert!(poll_once(&mut late).await.is_ready());
    assert_eq!(soon(agent.get(|n| *n)).await.unwrap(), 0);
}
