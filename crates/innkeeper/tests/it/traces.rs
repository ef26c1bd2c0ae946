//! What whoever collects traces and logs is told of processes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use innkeeper::{ChildSpec, Keyed, Supervisor};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Instrument, Metadata, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::support::{House, Log, Say, Script, act, add, key, plan, spec};

/// A span or an event, with its fields as text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) fields: HashMap<&'static str, String>,
    /// The spans that it is in, from the innermost on.
    pub(crate) within: Vec<String>,
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// Remembers what is told on this thread, for as long as the guard is there.
#[derive(Clone, Default)]
pub(crate) struct Collected {
    pub(crate) spans: Arc<Mutex<Vec<Told>>>,
    pub(crate) events: Arc<Mutex<Vec<Told>>>,
}

pub(crate) fn collect() -> (Collected, DefaultGuard) {
    let collected = Collected::default();
    let subscriber = tracing_subscriber::registry().with(collected.clone());
    (collected, tracing::subscriber::set_default(subscriber))
}

impl Collected {
    /// The spans in which messages were handled.
    pub(crate) fn handled(&self) -> Vec<Told> {
        let spans = self.spans.lock().unwrap();
        spans.iter().filter(|span| span.name == "handle").cloned().collect()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collected {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == innkeeper::trace::TARGET || !metadata.target().starts_with("tokio")
    }

    fn on_new_span(&self, of: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        let mut told = Told { name: of.metadata().name().to_owned(), ..Told::default() };
        of.record(&mut told);
        let scope = ctx.span(id).unwrap().scope().skip(1);
        told.within = scope.map(|span| span.name().to_owned()).collect();
        self.spans.lock().unwrap().push(told);
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        let scope = ctx.event_scope(event).into_iter().flatten();
        told.within = scope.map(|span| span.name().to_owned()).collect();
        self.events.lock().unwrap().push(told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_handled_as_a_part_of_what_its_caller_does() {
    let (collected, _guard) = collect();
    let house = House::new();
    let rooms = house.open(house.builder(spec()).name("rooms")).await;
    let room = rooms.get_or_start(&key("lobby")).await.unwrap().process().unwrap();
    add(&room, 1).instrument(tracing::info_span!("asking")).await;
    // Nobody waits for it, so it is a part of nothing.
    room.cast(Say::Note(1)).instrument(tracing::info_span!("noting")).await.unwrap();
    add(&room, 1).await;
    let handled = collected.handled();
    let within: Vec<_> = handled.iter().map(|span| span.within.join(" ")).collect();
    assert_eq!(within, ["asking", "", ""]);
    let fields = &handled[0].fields;
    assert_eq!((fields["process"].as_str(), fields["key"].as_str()), ("rooms", r#""lobby""#));
    assert_eq!(fields["incarnation"], room.incarnation().to_string());
    assert!(!fields.contains_key("epoch"), "there is no epoch on one node: {fields:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_logs_after_a_wait_is_still_told_with_its_span() {
    let (collected, _guard) = collect();
    let log = Log::new();
    let told = plan(&log);
    let supervisor = Supervisor::new().start().await.unwrap();
    let builder = Keyed::<String, Script>::with_args(ChildSpec::new(), move |_| told.clone());
    let scripts = builder.start(&supervisor).await.unwrap();
    let via = scripts.via(&key("a"));
    let logged = via.call(act(|_, _| {
        Box::pin(async {
            tokio::task::yield_now().await;
            tracing::info!("from within");
        })
    }));
    logged.await.unwrap();
    let events = collected.events.lock().unwrap();
    let event = events.iter().find(|event| event.fields["message"] == "from within").unwrap();
    assert_eq!(event.within, ["handle"]);
}

/// A key that cannot be written.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Shy;

impl fmt::Debug for Shy {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("it is not to be written")
    }
}

/// P4
#[tokio::test(start_paused = true)]
async fn a_key_that_panics_when_it_is_written_costs_the_span_and_not_the_message() {
    let (collected, _guard) = collect();
    let log = Log::new();
    let told = plan(&log);
    let supervisor = Supervisor::new().start().await.unwrap();
    let builder = Keyed::<Shy, Script>::with_args(ChildSpec::new(), move |_: &Shy| told.clone());
    let scripts = builder.start(&supervisor).await.unwrap();
    let called = scripts.via(&Shy).call(act(|_, _| Box::pin(async {}))).await;
    assert!(called.is_ok(), "{called:?}");
    assert!(collected.handled().is_empty());
}
