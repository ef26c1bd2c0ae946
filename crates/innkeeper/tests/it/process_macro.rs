//! The `#[process]` sugar: methods in; messages, a trait implementation and typed methods out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use innkeeper::{
    CallError, ChildSpec, Context, Down, ExitReason, Keyed, LinkExit, ProcessRef, StartError,
    Supervisor, process,
};

use crate::support::{eventually, key, secs, settle, soon, spec};

/// What rooms of one test count together.
type Counts = Arc<[AtomicU32; 4]>;

struct Room {
    name: String,
    lines: Vec<String>,
    counts: Counts,
}

#[process]
impl Room {
    async fn init(args: &(String, Counts), ctx: &mut Context<Self>) -> Result<Self, StartError> {
        if args.0.is_empty() {
            return Err(StartError::ignore());
        }
        let _ = ctx.incarnation();
        Ok(Room { name: args.0.clone(), lines: Vec::new(), counts: args.1.clone() })
    }

    /// Says a line and answers how many there are.
    #[call]
    async fn say(&mut self, who: u32, line: String) -> usize {
        self.lines.push(format!("{who}: {line}"));
        tokio::task::yield_now().await;
        self.lines.len()
    }

    #[call]
    fn name(&self) -> String {
        self.own_name().to_owned()
    }

    /// Answers nothing, and is waited for all the same.
    #[call]
    fn clear(&mut self) {
        self.lines.clear();
    }

    #[call]
    fn find(&self, line: String) -> Result<usize, String> {
        self.lines.iter().position(|other| other.ends_with(&line)).ok_or(line)
    }

    #[cast]
    fn hint(&mut self, line: String) {
        self.lines.push(line);
    }

    #[cast]
    async fn watch(&mut self, other: ProcessRef<RoomMessage>, ctx: &mut Context<Self>) {
        ctx.trap_exits(true);
        let _ = ctx.monitor(&other);
        let _ = ctx.link(&other);
    }

    #[cast]
    fn r#type(&mut self) {
        self.lines.push("typed".to_owned());
    }

    #[cast]
    fn crash(&mut self) {
        panic!("told to");
    }

    fn down(&mut self, _down: Down) {
        self.counts[0].fetch_add(1, Ordering::SeqCst);
    }

    async fn link_exit(&mut self, exit: LinkExit, ctx: &mut Context<Self>) {
        assert_ne!(exit.incarnation, ctx.incarnation());
        self.counts[1].fetch_add(1, Ordering::SeqCst);
    }

    fn idle(&mut self) -> bool {
        self.counts[2].fetch_add(1, Ordering::SeqCst);
        self.lines.is_empty()
    }

    async fn terminate(&mut self, why: &ExitReason) {
        assert!(!why.to_string().is_empty());
        self.counts[3].fetch_add(1, Ordering::SeqCst);
    }

    /// Not a message: all else stays as it is.
    fn own_name(&self) -> &str {
        &self.name
    }
}

async fn rooms(counts: &Counts) -> Keyed<String, Room> {
    let supervisor = Supervisor::new().start().await.unwrap();
    let counts = counts.clone();
    Keyed::with_args(spec(), move |key: &String| (key.clone(), counts.clone()))
        .idle_after(secs(100))
        .start(&supervisor)
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn calls_and_casts_are_methods_of_a_reference_and_of_a_key() {
    let rooms = rooms(&Counts::default()).await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    assert_eq!(room.say(1, "hello".to_owned()).await.unwrap(), 1);
    room.hint("a hint".to_owned()).await.unwrap();
    assert_eq!(room.say(2, "hi".to_owned()).timeout(secs(1)).await.unwrap(), 3);
    let lobby = rooms.via(&key("lobby"));
    assert_eq!(lobby.say(3, "by key".to_owned()).await.unwrap(), 4);
    assert_eq!(lobby.name().await.unwrap(), "lobby");
    assert_eq!(room.find("hi".to_owned()).await.unwrap(), Ok(2));
    assert_eq!(room.find("ho".to_owned()).await.unwrap(), Err("ho".to_owned()));
    lobby.r#type().await.unwrap();
    room.clear().await.unwrap();
    assert_eq!(lobby.say(1, "again".to_owned()).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_messages_of_a_process_can_be_made_by_hand_and_come_back_unsent() {
    let rooms = rooms(&Counts::default()).await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    let message = RoomMessage::Say { who: 1, line: "hello".to_owned() };
    let RoomReply::Say(count) = room.call(message).await.unwrap() else {
        panic!("another answer");
    };
    assert_eq!(count, 1);
    rooms.stop(&key("lobby")).await.unwrap();
    let back = room.say(7, "too late".to_owned()).await.unwrap_err();
    let CallError::NotDelivered { message: RoomMessage::Say { who: 7, line }, .. } = back else {
        panic!("{back:?}");
    };
    assert_eq!(line, "too late");
    assert!(matches!(room.hint("x".to_owned()).send(), Err(error)
        if matches!(&error.message, RoomMessage::Hint { line } if line == "x")));
}

#[tokio::test(start_paused = true)]
async fn every_callback_of_the_trait_can_be_a_method_with_only_what_it_needs() {
    let counts = Counts::default();
    let rooms = rooms(&counts).await;
    let count = |at: usize| counts[at].load(Ordering::SeqCst);
    let watcher = rooms.get_or_start(&key("watcher")).await.unwrap().process().unwrap();
    let other = rooms.get_or_start(&key("other")).await.unwrap().process().unwrap();
    watcher.watch(other.clone()).await.unwrap();
    settle().await;
    other.crash().await.unwrap();
    other.ended().await;
    eventually(|| count(0) == 1 && count(1) == 1).await;
    assert_eq!(count(3), 1);
    watcher.hint("still needed".to_owned()).await.unwrap();
    tokio::time::sleep(secs(300)).await;
    assert!(watcher.is_alive() && count(2) > 1);
    watcher.clear().await.unwrap();
    assert_eq!(soon(watcher.ended()).await, ExitReason::Idle);
}

#[tokio::test(start_paused = true)]
async fn an_init_may_decline_through_the_sugar_too() {
    let rooms = rooms(&Counts::default()).await;
    assert_eq!(rooms.get_or_start(&String::new()).await, Ok(innkeeper::Outcome::Ignored));
}

mod bare {
    use super::{StartError, process};

    /// Nothing can be said to it, and it takes nothing.
    pub(super) struct Bare;

    #[process]
    impl Bare {
        pub(super) fn init() -> Result<Self, StartError> {
            Ok(Bare)
        }
    }

    /// Its messages are as visible as its methods.
    pub(super) struct Open(u32);

    #[process]
    impl Open {
        async fn init(first: &u32) -> Result<Self, StartError> {
            Ok(Open(*first))
        }

        #[call]
        pub(super) fn add(&mut self, more: u32) -> u32 {
            self.0 += more;
            self.0
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_without_messages_or_arguments_is_a_process() {
    let bare = innkeeper::start::<bare::Bare>((), ChildSpec::new()).await.unwrap();
    assert!(bare.is_alive());
    bare.stop(ExitReason::Normal, secs(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn typed_methods_are_as_visible_as_the_first_of_the_process() {
    use bare::OpenApi;
    let open = innkeeper::start::<bare::Open>(40, ChildSpec::new()).await.unwrap();
    assert_eq!(open.add(2).await.unwrap(), 42);
    let message = bare::OpenMessage::Add { more: 1 };
    assert!(matches!(open.call(message).await, Ok(bare::OpenReply::Add(43))));
}

/// Each refusal says what was expected, where it was not.
#[test]
fn what_cannot_be_a_process_is_refused_by_name() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
