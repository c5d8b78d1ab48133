//! The real Chromium, without a screen, in the world's network: told what to do as a test of a web page
//! tells it, by the WebDriver protocol of chromedriver.

use serde_json::{Value, json};

use crate::harness::{PATIENCE, Running, World, find, skipped};

/// What works in a container and as root, and asks for nothing but the page.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--no-first-run",
];

/// Waits until an expression is true: it is looked at after each change of the page.
const SHOWS: &str = "const [so, done] = [new Function('return ' + arguments[0]), arguments[1]];
    const look = () => so() && (watching.disconnect(), done(true));
    const watching = new MutationObserver(look);
    watching.observe(document, {subtree: true, childList: true, characterData: true});
    look();";

/// A browser with one page. Dropped, it ends.
pub struct Browser<'a> {
    world: &'a World,
    /// `chromedriver`, which is killed when this is dropped.
    _driver: Running,
    /// Where it is asked.
    url: String,
}

impl<'a> Browser<'a> {
    /// Opens this page; `None` where there is no browser.
    pub fn open(world: &'a World, page: &str) -> Option<Self> {
        for name in ["chromium", "chromedriver", "curl"] {
            if find(name).is_none() {
                return skipped(&format!("there is no {name}"));
            }
        }
        let driver = world
            .program("/usr/bin/chromedriver", &["--port=0"])
            .spawn();
        let mut port = None;
        driver.wait_stdout(|said| {
            let said = String::from_utf8_lossy(said);
            let end = said.split_once("successfully on port ");
            port = end.and_then(|(_, end)| Some(end.split_once('.')?.0.to_owned()));
            port.is_some()
        });
        let mut browser = Self {
            world,
            _driver: driver,
            url: format!("http://127.0.0.1:{}/session", port.unwrap()),
        };
        let profile = format!(
            "--user-data-dir={}",
            world.root().join("chromium").display()
        );
        let flags: Vec<&str> = FLAGS.iter().copied().chain([profile.as_str()]).collect();
        let wanted = json!({
            "goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": flags},
            // Over before curl is given up: then it is told what the page shows instead.
            "timeouts": {"script": PATIENCE.as_millis() / 2},
        });
        let session = browser.post("", &json!({"capabilities": {"alwaysMatch": wanted}}));
        browser.url += &format!("/{}", session["sessionId"].as_str().unwrap());
        browser.post("/url", &json!({"url": page}));
        Some(browser)
    }

    /// Gives a command, and waits for its value.
    #[track_caller]
    fn post(&self, command: &str, body: &Value) -> Value {
        let value = self.answer(command, body);
        assert!(value["error"].is_null(), "{body}: {value:.2000}");
        value
    }

    /// The same, be it an error.
    #[track_caller]
    fn answer(&self, command: &str, body: &Value) -> Value {
        let url = format!("{}{command}", self.url);
        let curl = ["-sS", "-X", "POST", "--data-binary", "@-", &url];
        let done = self.world.program("curl", &curl).stdin(body.to_string());
        done.run().ok().json()["value"].take()
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn eval(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The text of all elements of this class, as a reader sees it.
    #[track_caller]
    pub fn text(&self, class: &str) -> String {
        let value = self.eval(&texts(class));
        value.as_str().unwrap().to_owned()
    }

    /// Waits until the text of all elements of this class is such.
    #[track_caller]
    pub fn shows(&self, class: &str, text: &str) {
        let so = format!("{} === {}", texts(class), json!(text));
        let body = json!({"script": SHOWS, "args": [so]});
        let shown = self.answer("/execute/async", &body) == true;
        assert!(shown, "{:?}, not {text:?}", self.text(class));
    }

    /// Begins the page anew.
    pub fn reload(&self) {
        self.post("/refresh", &json!({}));
    }
}

fn texts(class: &str) -> String {
    format!("Array.from(document.querySelectorAll('.{class}'), it => it.textContent).join('|')")
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        // Its answer comes when the browser has ended; chromedriver alone would leave it.
        let args = ["-sS", "-X", "DELETE", &self.url];
        self.world.program("curl", &args).run();
    }
}
