//! A real Chromium, driven over WebDriver by Debian's ChromeDriver.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use reqwest::blocking::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A window without a screen, closed when dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    /// The session's URL.
    session: String,
    http: Client,
    profile: TempDir,
}

impl Browser {
    /// Starts a browser.
    pub fn start() -> Result<Self> {
        let driver = Command::new("chromedriver")
            .args(["--port=0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut driver = driver.context("chromedriver is missing: scripts/install-test-needs installs it")?;
        let profile = TempDir::new()?;
        #[expect(clippy::disallowed_methods, reason = "the client of a test")]
        let http = Client::builder().no_proxy().build()?;
        let port = port_of(&mut driver);
        let mut browser = Self { driver, session: String::new(), http, profile };
        browser.session = format!("http://127.0.0.1:{}/session", port?);
        browser.session = browser.new_session()?;
        Ok(browser)
    }

    fn new_session(&self) -> Result<String> {
        let profile = format!("--user-data-dir={}", self.profile.path().to_string_lossy());
        let arguments = [
            "--headless",
            // Tests run as root in many a container.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1600",
            &profile,
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let answer = self.post("", &capabilities)?;
        Ok(format!("{}/{}", self.session, text(&answer, "/sessionId")))
    }

    /// Opens a page that lies in a file.
    pub fn open(&self, page: &Path) -> Result<()> {
        self.post("/url", &json!({ "url": url_of(page) })).map(drop)
    }

    /// Runs JavaScript in the page and returns its result.
    pub fn script(&self, script: &str) -> Result<Value> {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression in the page is true.
    pub fn until(&self, expression: &str) -> Result<()> {
        let script = format!(
            "const done = arguments[0]; const look = () => ({expression}) ? done(true) : setTimeout(look, 10); look();"
        );
        let answer = self.post("/execute/async", &json!({ "script": script, "args": [] }));
        answer.map(drop).with_context(|| format!("never came true: {expression}"))
    }

    /// Types into the element that a CSS selector names, as a person does.
    pub fn type_into(&self, selector: &str, text: &str) -> Result<()> {
        let element = self.element(selector)?;
        self.post(&format!("/element/{element}/value"), &json!({ "text": text })).map(drop)
    }

    /// Clicks on the element that a CSS selector names.
    pub fn click(&self, selector: &str) -> Result<()> {
        let element = self.element(selector)?;
        self.post(&format!("/element/{element}/click"), &json!({})).map(drop)
    }

    /// The messages that the page wrote to the console, with its content-security-policy
    /// violations.
    pub fn console(&self) -> Result<Vec<String>> {
        let log = self.log("browser")?;
        Ok(log.iter().map(|entry| text(entry, "/message").to_owned()).collect())
    }

    /// The URLs that a page requested since it was opened, with its own.
    pub fn requests(&self, page: &Path) -> Result<Vec<String>> {
        let mut urls = Vec::new();
        for entry in self.log("performance")? {
            let message: Value = serde_json::from_str(text(&entry, "/message"))?;
            // What a new, empty tab asks for is not the page's.
            let is_the_pages = text(&message, "/message/params/documentURL") == url_of(page);
            if text(&message, "/message/method") == "Network.requestWillBeSent" && is_the_pages {
                urls.push(text(&message, "/message/params/request/url").to_owned());
            }
        }
        Ok(urls)
    }

    fn log(&self, kind: &str) -> Result<Vec<Value>> {
        let log = self.post("/se/log", &json!({ "type": kind }))?;
        Ok(log.as_array().cloned().unwrap_or_default())
    }

    fn element(&self, selector: &str) -> Result<String> {
        let found = self.post("/element", &json!({ "using": "css selector", "value": selector }))?;
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        Ok(id.with_context(|| format!("no element {selector}"))?.to_owned())
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer: Value = self.http.post(format!("{}{path}", self.session)).json(body).send()?.json()?;
        ensure!(answer.pointer("/value/error").is_none_or(Value::is_null), "{path}: {answer}");
        Ok(answer.get("value").cloned().unwrap_or_default())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium; after that the driver has nothing left to do.
        let _ = self.http.delete(&self.session).send();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The text at a JSON pointer; empty where there is none.
fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn url_of(page: &Path) -> String {
    format!("file://{}", page.to_string_lossy())
}

/// The port on which the driver listens.
fn port_of(driver: &mut Child) -> Result<String> {
    let output = driver.stdout.take().context("the driver has no output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        if let Some((_, port)) = line.split_once("successfully on port ") {
            return Ok(port.trim_end_matches('.').to_owned());
        }
    }
    anyhow::bail!("chromedriver did not say its port")
}
