//! The page in a real browser: what it says, reads off and switches, and what it asks for: nothing.

mod driver;

use std::{fs, path::PathBuf};

use reports::{Results, render};
use serde_json::{Value, json};

use self::driver::{Browser, DOWN, ESCAPE, LEFT, RIGHT, TAB, UP};
use crate::made_up::MadeUp;

/// The page of a made-up folder.
fn page(folder: &MadeUp) -> PathBuf {
    render::render(&Results::read(folder.path()).unwrap()).unwrap().index
}

/// All of the paper's figures, one of them missing.
fn half_finished() -> MadeUp {
    let mut folder = MadeUp::as_in_the_paper();
    let failed = &mut folder.manifest.repetitions[1];
    (failed.counts, failed.status) = (false, model::manifest::Status::Failed);
    failed.error = Some(
        "the guest did not boot: qemu-system-x86_64: ../accel/kvm/kvm-all.c:2893: kvm_init: \
         Assertion `ret == 0' failed"
            .to_owned(),
    );
    folder.manifest.finished_utc = None;
    folder.save();
    folder
}

/// Where a place of figure 1's plot is in the window: x in ms, y as a share.
fn place(browser: &Browser, figure: &str, x: f64, y: f64) -> (f64, f64) {
    let script = format!(
        "const plot = document.querySelector('#{figure} .plot');
         plot.scrollIntoView({{block: 'center'}});
         const frame = plot.querySelector('svg').getBoundingClientRect();
         const axis = plot.querySelector('.axis').getBoundingClientRect();
         const first = plot.querySelector('svg').getAttribute('viewBox').split(' ').map(Number);
         return [axis.left, axis.right, axis.top, axis.bottom, frame.width, first[2]];"
    );
    let ends: Vec<f64> =
        browser.run(&script).as_array().unwrap().iter().map(|own| own.as_f64().unwrap()).collect();
    let [left, right, top, bottom, ..] = ends[..] else { panic!("{ends:?}") };
    (left + x / 100.0 * (right - left), bottom - y * (bottom - top))
}

fn tip(browser: &Browser, figure: &str) -> String {
    let script = format!(
        "const tip = document.querySelector('#{figure} .tip');
         return tip.hidden ? '' : [...tip.children].map(line => line.textContent).join(' | ');"
    );
    browser.text(&script)
}

fn number_of(browser: &Browser, selector: &str) -> u64 {
    browser
        .run(&format!("return document.querySelectorAll(\"{selector}\").length;"))
        .as_u64()
        .unwrap()
}

#[test]
fn the_page_asks_for_nothing_and_says_nothing_on_the_console() {
    let Some(browser) = Browser::start("the_page_asks_for_nothing") else { return };
    for folder in [
        MadeUp::as_in_the_paper(),
        half_finished(),
        MadeUp::service([(210.0, 354.0), (979.0, 1856.0), (3308.0, 27624.0), (1570.0, 2930.0)]),
    ] {
        let index = page(&folder);
        assert!(fs::metadata(&index).unwrap().len() <= 3_000_000, "3 MB");
        browser.open(&index);
        assert!(number_of(&browser, "figure .plot svg") > 0, "the script drew the curves");
        assert_eq!(browser.console(), [""; 0]);
        assert_eq!(browser.requests(), [format!("file://{}", index.display())]);
    }
}

#[test]
fn pointing_reads_a_curve_off_and_dragging_zooms() {
    let Some(browser) = Browser::start("pointing_reads_a_curve_off") else { return };
    browser.resize(1440, 900);
    browser.open(&page(&MadeUp::as_in_the_paper()));
    // Two of three jobs of τ2 take a little over 50 ms, the others 80.
    browser.point(&[place(&browser, "fig1", 65.0, 0.68)]);
    let said = tip(&browser, "fig1");
    assert!(said.starts_with("τ2 (50 ms, 200 ms) | response time "), "{said}");
    let ms: f64 =
        said.split("response time ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((50.0..=81.0).contains(&ms), "{said}");
    assert!(said.contains("percentile p66") && said.contains(" of 148 jobs"), "{said}");
    browser.point(&[place(&browser, "fig1", 30.2, 0.5)]);
    assert!(tip(&browser, "fig1").starts_with("τ1 (30 ms, 150 ms) | response time 30."));

    let ticks = "return [...document.querySelectorAll('#fig1 .plot text')].map(t => t.textContent).join(' ');";
    let before = browser.text(ticks);
    browser.point(&[place(&browser, "fig1", 20.0, 0.2), place(&browser, "fig1", 40.0, 0.2)]);
    let after = browser.text(ticks);
    assert!(before.contains(" 80 ") && after.contains("35") && !after.contains(" 80 "), "{after}");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn tasks_cases_and_stalled_samples_switch_by_keyboard() {
    let Some(browser) = Browser::start("tasks_cases_and_stalled_samples_switch") else { return };
    browser.open(&page(&MadeUp::as_in_the_paper()));
    let curves = "#fig4 .plot .curve";
    // Two tasks, loaded and unloaded, each judged and with the stalled jobs.
    assert_eq!(number_of(&browser, curves), 8);
    for (name, left) in [("τ1", 4), ("unloaded", 4), ("all jobs", 4)] {
        let focus = format!(
            "const boxes = [...document.querySelectorAll('#fig4 .switches label')];
             const box = boxes.find(own => own.textContent.startsWith('{name}')).firstChild;
             box.focus(); return box.checked;"
        );
        assert_eq!(browser.run(&focus), json!(true), "{name}");
        browser.keys(&[" "]);
        assert_eq!(number_of(&browser, curves), left, "without {name}");
        browser.keys(&[" "]);
        assert_eq!(number_of(&browser, curves), 8);
    }
    assert!(number_of(&browser, "#fig4 .bound-label") == 2);
}

#[test]
fn every_control_is_reached_and_driven_by_keyboard() {
    let Some(browser) = Browser::start("every_control_is_reached") else { return };
    browser.open(&page(&MadeUp::as_in_the_paper()));
    let controls = "summary, a[href], button, input, select, [role=slider], .scroll";
    let visible = format!(
        "window.controls = [...document.querySelectorAll('{controls}')].filter(own => own.checkVisibility());
         window.reached = new Set(); return window.controls.length;"
    );
    let all = browser.run(&visible).as_u64().unwrap();
    for _ in 0..all + 2 {
        browser.keys(&[TAB]);
        browser.run("window.reached.add(document.activeElement);");
    }
    let missed = "return window.controls.filter(own => !window.reached.has(own)).map(own => own.outerHTML.slice(0, 90));";
    assert_eq!(browser.run(missed), json!([]));

    let value = "return document.activeElement.getAttribute('aria-valuetext');";
    browser.run("document.querySelector('#fig1 .plot').focus();");
    browser.keys(&[RIGHT]);
    let median = browser.text(value);
    assert!(median.contains("τ1") && median.contains("percentile p50 "), "{median}");
    browser.keys(&[RIGHT, RIGHT, LEFT]);
    assert!(browser.text(value).contains("percentile p51 "));
    browser.keys(&[DOWN]);
    assert!(browser.text(value).contains("τ2"), "the next curve");
    browser.keys(&[UP, "+", "+"]);
    let ticks =
        "return [...document.querySelectorAll('#fig1 .plot text')].map(t => t.textContent);";
    assert!(!browser.run(ticks).as_array().unwrap().contains(&json!("100")), "zoomed in");
    browser.keys(&["0", ESCAPE]);
    assert!(browser.run(ticks).as_array().unwrap().contains(&json!("100")), "all of it again");
    assert_eq!(tip(&browser, "fig1"), "");

    browser.run("document.querySelector('#fig1 [aria-pressed]').focus();");
    browser.keys(&["\u{e007}"]);
    let axis = "return document.querySelector('#fig1 .plot').textContent.includes('logarithmic');";
    assert_eq!(browser.run(axis), json!(true));
    browser.run("document.getElementById('theme').focus();");
    browser.keys(&["d"]);
    assert_eq!(browser.text("return document.documentElement.dataset.theme;"), "dark");
    browser.run("location.hash = 'fig2-work';");
    let open = "return document.getElementById('fig2-work').checkVisibility();";
    assert_eq!(browser.run(open), json!(true), "a mark unfolds its claim");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn the_accessibility_tree_has_a_table_for_each_figure() {
    let Some(browser) = Browser::start("the_accessibility_tree") else { return };
    browser.open(&page(&half_finished()));
    let tree = browser.devtools("Accessibility.getFullAXTree", &json!({}));
    let wanted = ["heading", "figure", "table", "slider", "checkbox", "button", "combobox"];
    let mut seen = String::new();
    for node in tree["nodes"].as_array().unwrap() {
        let text = |key: &str| node[key]["value"].as_str().unwrap_or("").to_owned();
        let role = text("role");
        if node["ignored"] != Value::Bool(true) && wanted.contains(&role.to_lowercase().as_str()) {
            seen.push_str(&format!("{role} {}\n", text("name")));
        }
    }
    insta::assert_snapshot!(seen, @"
    heading made-up, 2026-11-23T12:00:00Z
    combobox Colours
    heading What the paper says, and what was measured here
    heading Figures 1 to 4
    figure Figure 1: on the host
    figure Figure 3: in a guest, host loaded, no reservation
    figure Figure 3: response times over time
    figure Figure 4: in a guest with a (28 ms, 50 ms) reservation
    heading Response times of every task
    heading All jobs
    heading Jobs that no stall disturbed
    heading How quiet it was
    heading How constant the execution times were
    heading The host
    table 
    heading What was run
    heading Warnings
    heading Figure 1: on the host
    button Zoom in: Figure 1: on the host
    button Zoom out: Figure 1: on the host
    button Show all: Figure 1: on the host
    button Far percentiles, on a logarithmic axis: Figure 1: on the host
    slider Read off Figure 1: on the host
    heading Figure 3: in a guest, host loaded, no reservation
    button Zoom in: Figure 3: in a guest, host loaded, no reservation
    button Zoom out: Figure 3: in a guest, host loaded, no reservation
    button Show all: Figure 3: in a guest, host loaded, no reservation
    button Far percentiles, on a logarithmic axis: Figure 3: in a guest, host loaded, no reservation
    slider Read off Figure 3: in a guest, host loaded, no reservation, part 1
    slider Read off Figure 3: in a guest, host loaded, no reservation, part 2
    heading Figure 3: response times over time
    button Zoom in: Figure 3: response times over time
    button Zoom out: Figure 3: response times over time
    button Show all: Figure 3: response times over time
    slider Read off Figure 3: response times over time, part 1
    slider Read off Figure 3: response times over time, part 2
    heading Figure 4: in a guest with a (28 ms, 50 ms) reservation
    button Zoom in: Figure 4: in a guest with a (28 ms, 50 ms) reservation
    button Zoom out: Figure 4: in a guest with a (28 ms, 50 ms) reservation
    button Show all: Figure 4: in a guest with a (28 ms, 50 ms) reservation
    button Far percentiles, on a logarithmic axis: Figure 4: in a guest with a (28 ms, 50 ms) reservation
    slider Read off Figure 4: in a guest with a (28 ms, 50 ms) reservation
    table 
    table 
    table 
    table 
    table 
    table Figure 1: on the host in numbers
    table Figure 3: in a guest, host loaded, no reservation in numbers
    table Figure 3: response times over time in numbers
    table Figure 4: in a guest with a (28 ms, 50 ms) reservation in numbers
    checkbox τ1 (30 ms, 150 ms)
    checkbox τ2 (50 ms, 200 ms)
    checkbox all jobs, stalled ones included
    checkbox analytic worst case
    checkbox τ1 (30 ms, 150 ms)
    checkbox τ2 (50 ms, 200 ms)
    checkbox τ1 (30 ms, 150 ms)
    checkbox τ2 (50 ms, 200 ms)
    checkbox τ1 (30 ms, 150 ms)
    checkbox τ2 (50 ms, 200 ms)
    checkbox unloaded
    checkbox loaded
    checkbox all jobs, stalled ones included
    checkbox analytic worst case
    ");
    let without = "return [...document.querySelectorAll('figure')].filter(own => !own.querySelector('table caption')).length;";
    assert_eq!(browser.run(without), json!(0));
}

#[test]
fn it_fits_a_phone_prefers_light_or_dark_and_prints() {
    let Some(browser) = Browser::start("it_fits_a_phone") else { return };
    let folder = half_finished();
    let index = page(&folder);
    let keep = std::env::var_os("KEEP_REPORT").map(PathBuf::from);
    for (width, scheme) in [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")] {
        browser.resize(width, 900);
        browser.prefer(scheme, "screen");
        browser.open(&index);
        let wide = "return document.documentElement.scrollWidth;";
        assert!(browser.run(wide).as_u64().unwrap() <= u64::from(width), "no sideways scrolling");
        let ground = browser.text("return getComputedStyle(document.body).backgroundColor;");
        assert_eq!(ground == "rgb(255, 255, 255)", scheme == "light", "{ground}");
        if let Some(keep) = &keep {
            browser.screenshot(&keep.join(format!("page-{width}-{scheme}.png")));
        }
    }
    browser.prefer("dark", "print");
    let tools = "return getComputedStyle(document.querySelector('.tools')).display;";
    assert_eq!(browser.text(tools), "none");
    let ground = browser.text("return getComputedStyle(document.body).backgroundColor;");
    assert_eq!(ground, "rgb(255, 255, 255)", "paper is white");
}
