//! A browser without a window: [`Browser`], Debian's Chromium, driven by the Chrome DevTools
//! protocol over two pipes.
//!
//! It records every request and every message of its log, so that a test can check both.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::Command,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Process, programs::find, report::report};

/// The browser starts in a second; a busy machine needs longer.
const START: Duration = Duration::from_secs(60);
/// Limit for an answer, and for a condition of a page.
const ANSWER: Duration = Duration::from_secs(30);
/// Pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(50);
/// Reads requests from descriptor 3 and writes to descriptor 4, as the browser expects.
const SCRIPT: &str = r#"exec "$3" --remote-debugging-pipe --headless --no-sandbox --disable-gpu --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync --disable-extensions \
    --user-data-dir="$4" about:blank 3<"$1" 4>"$2""#;

/// A browser with one page.
pub struct Browser {
    process: Process,
    requests: File,
    messages: Receiver<Value>,
    session: String,
    last: u64,
    /// The addresses of all requests.
    loaded: Vec<String>,
    /// The errors and warnings of the log.
    log: Vec<String>,
    _folder: TempDir,
}

// === impl Browser ===

impl Browser {
    /// Starts a browser. `None` without Chromium: `what` is reported as a test that did not run.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn start(what: &str) -> Result<Option<Self>> {
        let Ok(program) = find("chromium", "AMPOULE_CHROMIUM") else {
            report("not run: ", &format!("{what} (needs Chromium)"));
            return Ok(None);
        };
        let folder = tempfile::Builder::new().prefix("ampoule-e2e-browser-").tempdir()?;
        let pipe = |name: &str| -> Result<_> {
            let path = folder.path().join(name);
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
            Ok(path)
        };
        let (requests, answers) = (pipe("requests")?, pipe("answers")?);
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT, "browser"])
            .args([&requests, &answers])
            .arg(program)
            .arg(folder.path().join("data"));
        command.env("HOME", folder.path());
        let process = Process::spawn_in(&mut command, &folder.path().join("log"), folder.path())?;
        // The shell opens them in this order, and each waits for the other end.
        let requests = OpenOptions::new().write(true).open(requests)?;
        let messages = read_messages(&answers)?;
        let session = String::new();
        let (loaded, log) = (Vec::new(), Vec::new());
        let mut this = Self { process, requests, messages, session, last: 0, loaded, log, _folder: folder };
        this.attach().with_context(|| this.process.describe())?;
        Ok(Some(this))
    }

    fn attach(&mut self) -> Result<()> {
        let created = self.call_within("Target.createTarget", &json!({ "url": "about:blank" }), START)?;
        let target = json!({ "targetId": created["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", &target)?;
        attached["sessionId"].as_str().context("no session")?.clone_into(&mut self.session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(())
    }

    /// Opens an address.
    ///
    /// # Errors
    ///
    /// If it cannot be loaded.
    pub fn open(&mut self, url: &str) -> Result<()> {
        let opened = self.call("Page.navigate", &json!({ "url": url }))?;
        ensure!(opened["errorText"].is_null(), "{url}: {opened}");
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")
    }

    /// Evaluates an expression in the page, also one that is a promise.
    ///
    /// # Errors
    ///
    /// The exception of the expression.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", &params)?;
        ensure!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        Ok(result["result"]["value"].clone())
    }

    /// Evaluates an expression with a script in a world of its own, which sees the page's elements.
    /// Neither the page's scripts nor its Content-Security-Policy notice.
    ///
    /// # Errors
    ///
    /// The exception of the script or of the expression.
    pub fn evaluate_beside(&mut self, script: &str, expression: &str) -> Result<Value> {
        let tree = self.call("Page.getFrameTree", &json!({}))?;
        let world = json!({ "frameId": tree["frameTree"]["frame"]["id"], "worldName": "tests" });
        let world = self.call("Page.createIsolatedWorld", &world)?["executionContextId"].clone();
        let mut value = Value::Null;
        for expression in [script, expression] {
            let params =
                json!({ "expression": expression, "contextId": world, "awaitPromise": true, "returnByValue": true });
            let result = self.call("Runtime.evaluate", &params)?;
            ensure!(result["exceptionDetails"].is_null(), "{}", result["exceptionDetails"]);
            value = result["result"]["value"].clone();
        }
        Ok(value)
    }

    /// Waits until an expression is true.
    ///
    /// # Errors
    ///
    /// If it is not in time, with the text of the page.
    pub fn wait_for(&mut self, expression: &str) -> Result<()> {
        let deadline = Instant::now() + ANSWER;
        while self.evaluate(&format!("Boolean({expression})"))? != json!(true) {
            if Instant::now() > deadline {
                let text = self.evaluate("document.body.innerText")?;
                bail!("{expression} is not true; the page has:\n{}", text.as_str().unwrap_or_default());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Waits until the page has this text.
    ///
    /// # Errors
    ///
    /// As [`Browser::wait_for`].
    pub fn wait_for_text(&mut self, text: &str) -> Result<()> {
        self.wait_for(&format!("document.body.innerText.includes({})", json!(text)))
    }

    /// Clicks the middle of the first element of a CSS selector, with the mouse.
    ///
    /// # Errors
    ///
    /// If it does not exist.
    pub fn click(&mut self, selector: &str) -> Result<()> {
        let element = format!("document.querySelector({})", json!(selector));
        self.wait_for(&element)?;
        let point = self.evaluate(&format!(
            "(() => {{ const e = {element}; e.scrollIntoView({{ block: 'center' }}); const b = e.getBoundingClientRect(); \
             return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
        ))?;
        for kind in ["mousePressed", "mouseReleased"] {
            let mouse = json!({ "type": kind, "x": point[0], "y": point[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", &mouse)?;
        }
        Ok(())
    }

    /// Replaces the text of an input field, as the keyboard does.
    ///
    /// # Errors
    ///
    /// If it does not exist.
    pub fn enter(&mut self, selector: &str, text: &str) -> Result<()> {
        let element = format!("document.querySelector({})", json!(selector));
        self.wait_for(&element)?;
        self.evaluate(&format!("(() => {{ const e = {element}; e.focus(); e.select(); }})()"))?;
        self.call("Input.insertText", &json!({ "text": text }))?;
        Ok(())
    }

    /// Presses a key.
    ///
    /// # Errors
    ///
    /// If the browser has ended.
    pub fn press(&mut self, key: &str, code: u32) -> Result<()> {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", &event)?;
        }
        Ok(())
    }

    /// Sets the width of the window, and whether the user prefers dark colours.
    ///
    /// # Errors
    ///
    /// If the browser has ended.
    pub fn resize(&mut self, width: u32, dark: bool) -> Result<()> {
        self.size(width, 800, dark)
    }

    /// Sets width and height of the window, and whether the user prefers dark colours.
    ///
    /// # Errors
    ///
    /// If the browser has ended.
    pub fn size(&mut self, width: u32, height: u32, dark: bool) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size)?;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &media)?;
        Ok(())
    }

    /// The nodes of the accessibility tree: role and name.
    ///
    /// # Errors
    ///
    /// If the browser has ended.
    pub fn accessible(&mut self) -> Result<Vec<(String, String)>> {
        let tree = self.call("Accessibility.getFullAXTree", &json!({}))?;
        let nodes = tree["nodes"].as_array().context("nodes")?;
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        let shown = nodes.iter().filter(|node| node["ignored"] != true);
        Ok(shown.map(|node| (text(&node["role"]), text(&node["name"]))).collect())
    }

    /// Takes a picture of the window as WebP.
    ///
    /// # Errors
    ///
    /// If the browser has ended.
    pub fn picture(&mut self) -> Result<Vec<u8>> {
        let picture = self.call("Page.captureScreenshot", &json!({ "format": "webp", "quality": 85 }))?;
        let data = picture["data"].as_str().context("no picture")?;
        Ok(data_encoding::BASE64.decode(data.as_bytes())?)
    }

    /// The addresses of all requests so far.
    #[must_use]
    pub fn loaded(&self) -> &[String] {
        &self.loaded
    }

    /// Takes the errors and warnings of the log so far.
    pub fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.call_within(method, params, ANSWER)
    }

    fn call_within(&mut self, method: &str, params: &Value, limit: Duration) -> Result<Value> {
        self.last += 1;
        let mut request = json!({ "id": self.last, "method": method, "params": params });
        if !self.session.is_empty() {
            request["sessionId"] = json!(self.session);
        }
        self.requests.write_all(format!("{request}\0").as_bytes())?;
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left).with_context(|| format!("no answer to {method}"))?;
            if message["id"] == json!(self.last) {
                ensure!(message["error"].is_null(), "{method}: {}", message["error"]);
                return Ok(message["result"].clone());
            }
            self.record(&message);
        }
    }

    /// Records an event.
    fn record(&mut self, message: &Value) {
        let params = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => self.loaded.extend(params["request"]["url"].as_str().map(str::to_owned)),
            "Log.entryAdded" => self.log.push(params["entry"]["text"].as_str().unwrap_or_default().to_owned()),
            "Runtime.exceptionThrown" => self.log.push(params["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" => self.log.push(params["args"].to_string()),
            _ => {}
        }
    }
}

/// Reads the browser's messages in a thread, which ends with the browser.
fn read_messages(pipe: &Path) -> Result<Receiver<Value>> {
    let mut answers = BufReader::new(File::open(pipe)?);
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut message = Vec::new();
        while answers.read_until(0, &mut message).is_ok_and(|bytes| bytes > 0) {
            message.pop();
            if let Ok(value) = serde_json::from_slice(&message)
                && sender.send(value).is_err()
            {
                return;
            }
            message.clear();
        }
    });
    Ok(receiver)
}
