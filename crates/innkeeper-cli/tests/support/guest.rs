//! A browser, and people who use the page in it as people do: by keys.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chromiumoxide::cdp::browser_protocol::emulation::{
    MediaFeature, SetDeviceMetricsOverrideParams,
};
use chromiumoxide::cdp::browser_protocol::input::{
    DispatchKeyEventParams, DispatchKeyEventType, InsertTextParams,
};
use chromiumoxide::cdp::browser_protocol::log::{EventEntryAdded, LogEntryLevel};
use chromiumoxide::cdp::browser_protocol::page::{
    CaptureScreenshotFormat, EventJavascriptDialogOpening,
};
use chromiumoxide::cdp::js_protocol::runtime::{EvaluateParams, EventExceptionThrown};
use chromiumoxide::error::CdpError;
use chromiumoxide::page::ScreenshotParams;
use chromiumoxide::{Browser, BrowserConfig, Page};
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// How long anything may take to come true in a page.
const DEADLINE: Duration = Duration::from_secs(25);

/// How long the browser may take to start: nothing of ours is asked of it by then, and a machine
/// that is busy with other tests is slow to load it.
const LAUNCH: Duration = Duration::from_secs(60);

const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// The browser that is installed.
pub(crate) fn installed() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(&path).collect();
    let at = |program: &str| directories.iter().map(|directory| directory.join(program)).collect();
    let candidates = PROGRAMS.iter().flat_map(|program| -> Vec<PathBuf> { at(program) });
    candidates
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| format!("no browser is installed: looked for {}", PROGRAMS.join(", ")))
}

/// A running browser. Killed when dropped.
pub(crate) struct House {
    browser: Browser,
    tasks: JoinSet<()>,
    _profile: TempDir,
}

impl House {
    /// Starts the browser; once more if it did not come up in time, and that alone: one that ends
    /// instead, or is too slow for the second time, fails the test.
    #[allow(clippy::print_stderr)] // For whoever wonders where the minute went.
    pub(crate) async fn open(program: &Path) -> House {
        match House::launch(program).await {
            Err(CdpError::LaunchTimeout(said)) => {
                eprintln!("the browser is not up after {LAUNCH:?}, it is started anew: {said:?}");
                House::launch(program).await.unwrap()
            }
            launched => launched.unwrap(),
        }
    }

    async fn launch(program: &Path) -> Result<House, CdpError> {
        let profile = tempfile::tempdir().unwrap();
        let config = BrowserConfig::builder()
            .chrome_executable(program)
            // As root, in a container, it does not start otherwise; it sees nothing but our page.
            .no_sandbox()
            .user_data_dir(profile.path())
            .viewport(None)
            .request_timeout(DEADLINE * 2)
            .launch_timeout(LAUNCH)
            .args(["disable-gpu", "disable-quic", "disable-component-update"])
            .build()
            .unwrap();
        let (browser, mut handler) = Browser::launch(config).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { while handler.next().await.is_some() {} });
        Ok(House { browser, tasks, _profile: profile })
    }

    /// Somebody opens the page, in a tab of their own.
    pub(crate) async fn guest(&mut self, address: &str) -> Guest {
        let page = self.browser.new_page("about:blank").await.unwrap();
        let complaints = Arc::new(Mutex::new(Vec::new()));
        self.listen(&page, &complaints).await;
        page.goto(address).await.unwrap();
        let guest = Guest { page, complaints };
        guest.size(1280, 800).await;
        guest
    }

    /// Notes everything that goes wrong in a page: what it throws, what the browser refuses, and
    /// each dialog, which ours never opens.
    async fn listen(&mut self, page: &Page, complaints: &Arc<Mutex<Vec<String>>>) {
        page.enable_log().await.unwrap();
        let mut thrown = page.event_listener::<EventExceptionThrown>().await.unwrap();
        let mut logged = page.event_listener::<EventEntryAdded>().await.unwrap();
        let mut dialogs = page.event_listener::<EventJavascriptDialogOpening>().await.unwrap();
        let complaints = complaints.clone();
        self.tasks.spawn(async move {
            loop {
                let complaint = tokio::select! {
                    Some(event) = thrown.next() => format!("{:?}", event.exception_details),
                    Some(event) = dialogs.next() => format!("dialog: {}", event.message),
                    Some(event) = logged.next() => match event.entry.level {
                        LogEntryLevel::Error => event.entry.text.clone(),
                        _ => continue,
                    },
                    else => return,
                };
                complaints.lock().unwrap().push(complaint);
            }
        });
    }

    pub(crate) async fn close(mut self) {
        self.browser.close().await.unwrap();
        self.browser.wait().await.unwrap();
    }
}

/// Somebody with the page open.
pub(crate) struct Guest {
    page: Page,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Guest {
    pub(crate) async fn size(&self, width: i64, height: i64) {
        let size = SetDeviceMetricsOverrideParams::new(width, height, 1.0, width < 500);
        self.page.execute(size).await.unwrap();
    }

    pub(crate) async fn scheme(&self, scheme: &str) {
        let feature = MediaFeature::new("prefers-color-scheme", scheme);
        self.page.emulate_media_features(vec![feature]).await.unwrap();
    }

    /// The value of an expression, as text.
    pub(crate) async fn value(&self, expression: &str) -> String {
        let expression = format!("Promise.resolve({expression}).then(String)");
        let evaluate = EvaluateParams::builder().expression(expression).await_promise(true);
        let evaluate = evaluate.return_by_value(true).build().unwrap();
        self.page.evaluate(evaluate).await.unwrap().into_value().unwrap()
    }

    /// Waits until an expression is true in the page.
    pub(crate) async fn until(&self, expression: &str) {
        let wait = format!(
            "new Promise((resolve) => {{
                const end = performance.now() + {};
                const look = () => {{
                    const isTrue = {expression};
                    if (isTrue || performance.now() > end) resolve(Boolean(isTrue));
                    else setTimeout(look, 10);
                }};
                look();
            }})",
            DEADLINE.as_millis(),
        );
        if self.value(&wait).await != "true" {
            let shown = self.value("document.body.innerText").await;
            panic!("never true: {expression}\ncomplaints: {:?}\n{shown}", self.complaints());
        }
    }

    /// Types into what has the focus.
    pub(crate) async fn types(&self, text: &str) {
        self.page.execute(InsertTextParams::new(text)).await.unwrap();
    }

    pub(crate) async fn presses(&self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, Some("\r")),
            "Tab" => (9, None),
            "/" => (191, Some("/")),
            other => panic!("no such key: {other}"),
        };
        for kind in [DispatchKeyEventType::KeyDown, DispatchKeyEventType::KeyUp] {
            let mut event = DispatchKeyEventParams::builder()
                .r#type(kind.clone())
                .key(key)
                .code(key)
                .windows_virtual_key_code(code);
            if let (DispatchKeyEventType::KeyDown, Some(text)) = (kind, text) {
                event = event.text(text);
            }
            self.page.execute(event.build().unwrap()).await.unwrap();
        }
    }

    /// Selects what is in the field that has the focus, to be typed over.
    pub(crate) async fn clears(&self) {
        self.value("document.activeElement.select()").await;
    }

    #[allow(dead_code)] // As above.
    pub(crate) async fn clicks(&self, selector: &str) {
        // Nothing is drawn in a tab behind another, and what is not drawn cannot be clicked.
        self.page.bring_to_front().await.unwrap();
        self.page.find_element(selector).await.unwrap().click().await.unwrap();
    }

    /// Says something, and sees it answered.
    pub(crate) async fn says(&self, text: &str) {
        self.value("document.getElementById('text').focus()").await;
        self.types(text).await;
        self.presses("Enter").await;
    }

    /// Closes the tab.
    #[allow(dead_code)] // Not every test binary does.
    pub(crate) async fn closes(self) {
        self.page.close().await.unwrap();
    }

    #[allow(dead_code)] // As above.
    pub(crate) async fn reloads(&self) {
        self.page.reload().await.unwrap();
    }

    /// What went wrong in the page so far.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }

    /// A picture, for people to look at.
    pub(crate) async fn picture(&self, name: &str) {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
        std::fs::create_dir_all(&directory).unwrap();
        let params = ScreenshotParams::builder().format(CaptureScreenshotFormat::Png).build();
        let file = directory.join(format!("{name}.png"));
        self.page.save_screenshot(params, file).await.unwrap();
    }
}
