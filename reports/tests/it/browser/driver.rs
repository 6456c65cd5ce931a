//! Debian's Chromium without a screen, driven by WebDriver (W3C) and, where that has no word for it,
//! by the DevTools protocol.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// WebDriver's codes for keys.
pub const TAB: &str = "\u{e004}";
pub const ESCAPE: &str = "\u{e00c}";
pub const LEFT: &str = "\u{e012}";
pub const UP: &str = "\u{e013}";
pub const RIGHT: &str = "\u{e014}";
pub const DOWN: &str = "\u{e015}";

const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one window; ends with its value.
pub struct Browser {
    driver: Child,
    address: String,
    client: reqwest::Client,
    runtime: Runtime,
    /// Held open, so that the driver can go on talking.
    _said: BufReader<ChildStdout>,
    _profile: TempDir,
}

impl Browser {
    /// None, and a line that says so, where the host has no Chromium that can be driven.
    pub fn start(test: &str) -> Option<Self> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = match command.spawn() {
            Ok(driver) => driver,
            Err(error) => {
                eprintln!("SKIPPED: {test}: chromedriver (package chromium-driver): {error}");
                return None;
            }
        };
        let mut said = BufReader::new(driver.stdout.take().unwrap());
        let port = said.by_ref().lines().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let mut own = Self {
            driver,
            address: format!("http://127.0.0.1:{}", port.expect("chromedriver names its port")),
            client: reqwest::Client::builder().timeout(PATIENCE).build().unwrap(),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            _said: said,
            _profile: tempfile::tempdir().unwrap(),
        };
        let profile = format!("--user-data-dir={}", own._profile.path().display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            "--no-first-run",
            &profile,
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        }}});
        let session = own.call("POST", "/session", &wanted);
        let id = session["sessionId"].as_str().expect("a session has an id");
        own.address = format!("{}/session/{id}", own.address);
        // The browser's own first page is none of ours.
        own.post("/url", &json!({ "url": "about:blank" }));
        own.console();
        own.requests();
        Some(own)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let request =
            self.client.request(method.parse().unwrap(), format!("{}{path}", self.address));
        let request = if method == "POST" { request.body(body.to_string()) } else { request };
        let answer = self.runtime.block_on(async { request.send().await?.text().await });
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let value: Value = serde_json::from_str(&answer).unwrap();
        assert!(value["value"].get("error").is_none(), "{method} {path}: {answer}");
        value["value"].clone()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", path, body)
    }

    /// Opens a file.
    pub fn open(&self, file: &Path) {
        self.post("/url", &json!({ "url": format!("file://{}", file.display()) }));
    }

    /// What a script returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The same, a text.
    pub fn text(&self, script: &str) -> String {
        let value = self.run(script);
        value.as_str().unwrap_or_else(|| panic!("{script}: {value}")).to_owned()
    }

    /// A command of the DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// The window, in CSS pixels.
    pub fn resize(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// `light` or `dark`, and `screen` or `print`.
    pub fn prefer(&self, scheme: &str, media: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let wanted = json!({ "media": media, "features": features });
        self.devtools("Emulation.setEmulatedMedia", &wanted);
    }

    /// Messages of the console, each as JSON.
    pub fn console(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({ "type": "browser" }));
        log.as_array().unwrap().iter().map(Value::to_string).collect()
    }

    /// Addresses that the page asked for, those inside it (`data:`) and the browser's own left out.
    pub fn requests(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({ "type": "performance" }));
        let address = |entry: &Value| {
            let event: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let event = &event["message"];
            let asked = event["method"] == "Network.requestWillBeSent";
            Some(event["params"]["request"]["url"].as_str().filter(|_| asked)?.to_owned())
        };
        let all = log.as_array().unwrap().iter().filter_map(address);
        let own = |address: &String| address.starts_with("data:") || address.starts_with("chrome:");
        all.filter(|address| !own(address)).collect()
    }

    /// Presses and releases keys, one after the other, where the focus is.
    pub fn keys(&self, keys: &[&str]) {
        let event = |kind: &str, key: &str| json!({ "type": kind, "value": key });
        let all: Vec<Value> =
            keys.iter().flat_map(|key| [event("keyDown", key), event("keyUp", key)]).collect();
        let board = json!({ "type": "key", "id": "keys", "actions": all });
        self.post("/actions", &json!({ "actions": [board] }));
    }

    /// Moves the pointer, with the button down from the second place on; lets go at the last.
    pub fn point(&self, places: &[(f64, f64)]) {
        let to = |(x, y): &(f64, f64)| json!({ "type": "pointerMove", "duration": 20, "x": x.round(), "y": y.round() });
        let mut actions = vec![to(&places[0])];
        if places.len() > 1 {
            actions.push(json!({ "type": "pointerDown", "button": 0 }));
            actions.extend(places[1..].iter().map(to));
            actions.push(json!({ "type": "pointerUp", "button": 0 }));
        }
        let mouse = json!({ "type": "pointer", "id": "mouse", "actions": actions });
        self.post("/actions", &json!({ "actions": [mouse] }));
    }

    /// The whole page as a PNG file.
    pub fn screenshot(&self, to: &Path) {
        let wanted = json!({ "captureBeyondViewport": true });
        let picture = self.devtools("Page.captureScreenshot", &wanted);
        std::fs::write(to, decoded(picture["data"].as_str().unwrap())).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let end = self.client.delete(&self.address);
        let _ = self.runtime.block_on(async { end.send().await });
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Base64, as RFC 4648 has it.
fn decoded(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let sextets: Vec<u8> = text.bytes().filter_map(value).collect();
    let mut out = Vec::with_capacity(sextets.len() * 3 / 4);
    for four in sextets.chunks(4) {
        let bits = four.iter().fold(0_u32, |sum, own| (sum << 6) | u32::from(*own))
            << (6 * (4 - four.len()));
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    out
}
