//! What a process tells those who listen to it.

use innkeeper::{
    CallError, Context, ExitReason, ProcessRef, PushError, StartError, Subscriber, Subscription,
    Unsubscribed, process,
};

/// Tells everybody numbers, and remembers whom it could not tell.
#[derive(Default)]
struct Radio {
    listeners: Vec<Subscriber<u32>>,
    gone: Vec<PushError>,
}

#[process]
impl Radio {
    async fn init() -> Result<Self, StartError> {
        Ok(Radio::default())
    }

    #[call]
    fn listen(&mut self, who: Subscriber<u32>) {
        self.listeners.push(who);
    }

    #[call]
    fn tell(&mut self, number: u32, ctx: &mut Context<Self>) -> Vec<PushError> {
        self.listeners.retain(|who| match ctx.push(who, number) {
            Ok(()) => true,
            Err(error) => {
                self.gone.push(error);
                false
            }
        });
        self.gone.clone()
    }

    #[call]
    fn sign_off(&mut self) {
        for who in &self.listeners {
            who.end(ExitReason::Idle);
        }
    }

    #[cast]
    fn crash(&mut self) {
        panic!("told to");
    }
}

async fn radio() -> ProcessRef<RadioMessage> {
    innkeeper::start::<Radio>((), Default::default()).await.unwrap()
}

/// C1
#[tokio::test]
async fn who_listens_hears_everything_in_order_and_then_why_it_is_over() {
    let radio = radio().await;
    let (who, mut heard) = Subscription::new();
    let (other, mut also_heard) = Subscription::new();
    radio.listen(who).await.unwrap();
    radio.listen(other).await.unwrap();
    for number in 0..100 {
        assert!(radio.tell(number).await.unwrap().is_empty());
    }
    radio.sign_off().await.unwrap();
    for number in 0..100 {
        assert_eq!(heard.next().await, Ok(number));
        assert_eq!(also_heard.next().await, Ok(number));
    }
    let ended = Err(Unsubscribed::Ended(ExitReason::Idle));
    assert_eq!(heard.next().await, ended);
    assert_eq!(heard.next().await, ended, "it stays so");
    assert_eq!(radio.tell(100).await.unwrap(), [PushError::Over, PushError::Over]);
}

#[tokio::test]
async fn who_listens_to_a_process_that_crashes_hears_that_it_is_over() {
    let radio = radio().await;
    let (who, mut heard) = Subscription::new();
    radio.listen(who).await.unwrap();
    radio.tell(1).await.unwrap();
    radio.crash().await.unwrap();
    radio.ended().await;
    assert_eq!(heard.next().await, Ok(1));
    assert_eq!(heard.next().await, Err(Unsubscribed::Dropped));
}

/// P11
#[tokio::test]
async fn who_falls_behind_is_told_so_and_costs_the_others_nothing() {
    let radio = radio().await;
    let (slow, mut slowly) = Subscription::with_capacity(2);
    let (fast, mut fastly) = Subscription::with_capacity(2);
    radio.listen(slow.clone()).await.unwrap();
    radio.listen(fast).await.unwrap();
    for number in 0..5 {
        radio.tell(number).await.unwrap();
        assert_eq!(fastly.next().await, Ok(number));
    }
    slow.over().await;
    assert_eq!(radio.tell(5).await.unwrap(), [PushError::Overflow]);
    assert_eq!(slowly.next().await, Ok(0));
    assert_eq!(slowly.next().await, Ok(1));
    assert_eq!(slowly.next().await, Err(Unsubscribed::Overflow));
}

#[tokio::test]
async fn who_listens_no_more_is_noticed() {
    let radio = radio().await;
    let (who, heard) = Subscription::new();
    radio.listen(who.clone()).await.unwrap();
    let over = tokio::spawn({
        let who = who.clone();
        async move { who.over().await }
    });
    drop(heard);
    over.await.unwrap();
    assert_eq!(radio.tell(1).await.unwrap(), [PushError::Over]);
}

#[tokio::test]
async fn a_message_that_was_not_delivered_brings_its_subscriber_back() {
    let radio = radio().await;
    radio.crash().await.unwrap();
    radio.ended().await;
    let (who, mut heard) = Subscription::<u32>::new();
    let listened = radio.listen(who).await;
    let Err(CallError::NotDelivered { message: RadioMessage::Listen { who }, .. }) = listened
    else {
        panic!("expected it back, got {listened:?}")
    };
    who.end(ExitReason::Normal);
    assert_eq!(heard.next().await, Err(Unsubscribed::Ended(ExitReason::Normal)));
}
