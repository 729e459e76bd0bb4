//! The pages of the console in a browser: a user signs in, reads every page, follows decisions live
//! and tries a pod.
//!
//! Texts of pods are markup, which must stay text. The browser's log must have no error, and no
//! request may leave the console.

use std::path::PathBuf;

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Browser, Connection, Review, asking, axe};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{CANARY, Shown};
use crate::support::request;

const ADMIN: &str = "the-tests-own-token";
/// A group and a name that a page must not interpret.
const MARKUP: &str = "<img/src=x/onerror=document.title='hacked'>";
/// Roles of elements that a user operates, and that need a name.
const OPERATED: [&str; 6] = ["button", "link", "textbox", "checkbox", "combobox", "searchbox"];

/// The violations that axe-core finds with an impact of serious or critical: rule and elements. It
/// loads nothing.
const AXE: &str = r"axe.run(document, { resultTypes: ['violations'], preload: false }).then(({ violations, passes }) => {
  if (passes.length < 10) return ['axe-core checked only', passes.length];
  const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  return bad.map(({ id, impact, nodes }) => [id, impact, nodes.map(({ html, failureSummary }) => [html, failureSummary])]);
})";

/// The contrast of every text with its background; those below 4.5 with the text.
const CONTRAST: &str = r"(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const channels = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = (colour) => {
    const [r, g, b] = [...channels(colour)].map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (channels(colour)[3] === 255) return colour;
    }
    return 'white';
  };
  const texts = [...document.querySelectorAll('body *')].filter((element) =>
    element.checkVisibility() && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== ''));
  return texts.map((element) => {
    const [one, other] = [luminance(getComputedStyle(element).color), luminance(behind(element))];
    return [(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), element.textContent.slice(0, 40)];
  }).filter(([contrast]) => contrast < 4.5);
})()";

#[tokio::test(flavor = "multi_thread")]
async fn a_user_reads_every_page_and_tries_a_pod() -> Result<()> {
    let Some(mut browser) = Browser::start("the pages of the console in a browser")? else { return Ok(()) };
    let shown = Shown::start("console-pages", "{ listen: '127.0.0.1:0' }").await?;
    let origin = format!("http://{}", shown.ampoule.console()?);
    browser.resize(1200, false)?;
    browser.open(&origin)?;
    sign_in(&mut browser)?;
    review(&shown, "first").await?;

    browser.wait_for_text("Nothing.")?;
    browser.evaluate("document.documentElement.removeAttribute('lang')")?;
    let found = browser.evaluate_beside(&axe()?, AXE)?;
    assert_eq!(found[0][0], "html-has-lang", "axe-core finds a violation: {found}");
    browser.evaluate("document.documentElement.lang = 'en'")?;
    check_page(&mut browser, "overview")?;
    go_to(&mut browser, "plugins", "builtin:k8s")?;
    browser.click("summary")?;
    browser.wait_for_text("deadlineMillis")?;
    check_page(&mut browser, "plugins")?;
    go_to(&mut browser, "policy", "no-team-x")?;
    check_page(&mut browser, "policy")?;
    go_to(&mut browser, "configuration", "onFailure")?;
    check_page(&mut browser, "configuration")?;
    check_decisions(&mut browser, &shown).await?;
    check_shadows(&mut browser, &shown).await?;
    check_trial(&mut browser, &shown)?;

    let title = browser.evaluate("document.title")?;
    ensure!(title.as_str().is_some_and(|title| title.ends_with("– Ampoule console")), "{title}");
    let page = browser.evaluate("document.documentElement.outerHTML + location.href")?;
    ensure!(!page.to_string().contains(ADMIN) && !page.to_string().contains(CANARY), "{page}");
    let stored = browser.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")?;
    assert_eq!(stored, json!("[{},{},\"\"]"), "the token is in memory only");
    let foreign: Vec<_> = browser.loaded().iter().filter(|url| !url.starts_with(&origin)).cloned().collect();
    assert!(foreign.iter().all(|url| url == "about:blank"), "{foreign:?}");
    assert!(browser.loaded().iter().all(|url| !url.contains(ADMIN)), "a token is in a URL");
    assert_eq!(browser.take_log(), [] as [String; 0], "the browser's log");

    browser.click("#leave")?;
    browser.wait_for("document.querySelector('#token')")?;
    ensure!(browser.evaluate("document.querySelector('#pages').hidden")? == json!(true), "the pages are left");
    shown.stop().await
}

/// A wrong token gets the API server's answer; the right one, with the keyboard alone, the pages.
pub(super) fn sign_in(browser: &mut Browser) -> Result<()> {
    browser.wait_for("document.activeElement?.id === 'token'")?;
    browser.enter("#token", "unknown")?;
    browser.press("Enter", 13)?;
    browser.wait_for_text("Unauthorized")?;
    let log = browser.take_log();
    ensure!(log.iter().all(|line| line.contains("401")), "{log:?}");
    browser.enter("#token", ADMIN)?;
    browser.press("Tab", 9)?;
    browser.press("Enter", 13)?;
    browser.wait_for("!document.querySelector('#pages').hidden")
}

pub(super) fn go_to(browser: &mut Browser, page: &str, text: &str) -> Result<()> {
    browser.click(&format!("nav a[href='#/{page}']"))?;
    browser.wait_for(&format!("document.querySelector(\"nav a[href='#/{page}']\").ariaCurrent === 'page'"))?;
    browser.wait_for_text(text)?;
    browser.wait_for("['H1', 'INPUT'].includes(document.activeElement?.tagName)")
}

/// Names for screen readers, a narrow window, and the contrast of both colour schemes.
fn check_page(browser: &mut Browser, name: &str) -> Result<()> {
    let nodes = browser.accessible()?;
    let nameless: Vec<_> = nodes.iter().filter(|(role, name)| OPERATED.contains(&&**role) && name.is_empty()).collect();
    assert!(nameless.is_empty(), "{name}: {nameless:?}");
    assert_eq!(nodes.iter().filter(|(role, _)| role == "main").count(), 1, "{name}");
    let headings = browser.evaluate("document.querySelectorAll('h1').length")?;
    assert_eq!(headings, 1, "{name}");
    let folder = std::env::var_os("AMPOULE_PICTURES").map(PathBuf::from);
    let axe = axe()?;
    for (width, dark) in [(1200, false), (1200, true), (360, true), (360, false)] {
        browser.resize(width, dark)?;
        let page = "document.documentElement";
        let beyond = browser.evaluate(&format!("{page}.scrollWidth - {page}.clientWidth"))?;
        assert_eq!(beyond, 0, "{name} at {width}");
        assert_eq!(browser.evaluate(CONTRAST)?, json!([]), "{name}, dark {dark}");
        let found = browser.evaluate_beside(&axe, AXE)?;
        assert_eq!(found, json!([]), "{name} at {width}, dark {dark}");
        // For a look at the pages.
        if let Some(folder) = &folder {
            let scheme = if dark { "dark" } else { "light" };
            std::fs::write(folder.join(format!("{name}-{width}-{scheme}.webp")), browser.picture()?)?;
        }
    }
    browser.resize(1200, false)
}

/// Sends a review of a pod with this name, whose texts are markup.
async fn review(shown: &Shown, name: &str) -> Result<()> {
    let wanted = [request("db", "password", EnvVar, ""), request(MARKUP, "key", EnvVar, "A")];
    let mut pod = asking(name, wanted);
    pod["metadata"]["name"] = json!(format!("{name}-{MARKUP}"));
    let mut connection = Connection::tls(shown.ampoule.webhook(), shown.ampoule.trust()).await?;
    ampoule_tests::Ampoule::review(&mut connection, &Review::of(&pod, shown.team.name())).await?;
    Ok(())
}

/// Decisions arrive live, can be filtered, and are stories whose texts are texts.
async fn check_decisions(browser: &mut Browser, shown: &Shown) -> Result<()> {
    go_to(browser, "decisions", "first-")?;
    browser.enter("#namespace", shown.team.name())?;
    browser.press("Enter", 13)?;
    browser.wait_for_text("first-")?;
    review(shown, "second").await?;
    browser.wait_for_text("second-")?;
    browser.enter("#filter", "second")?;
    browser.wait_for("document.querySelectorAll('#decisions details').length === 1")?;
    browser.click("#decisions summary")?;
    browser.wait_for_text("Injector global: injected (2 edits, 1 with a fetched value)")?;
    let text = browser.evaluate("document.querySelector('#decisions').innerText")?;
    ensure!(text.as_str().is_some_and(|text| text.contains(MARKUP)), "{text}");
    assert_eq!(browser.evaluate("document.querySelectorAll('main img, main script').length")?, 0);
    // A live update leaves the story open.
    review(shown, "third-second").await?;
    browser.wait_for("document.querySelectorAll('#decisions details').length === 2")?;
    assert_eq!(browser.evaluate("document.querySelectorAll('#decisions details[open]').length")?, 1);
    check_page(browser, "decisions")
}

/// What a shadow rule and a shadow injector would have done, as texts.
async fn check_shadows(browser: &mut Browser, shown: &Shown) -> Result<()> {
    go_to(browser, "shadows", "1 difference")?;
    browser.enter("#namespace", shown.team.name())?;
    browser.press("Enter", 13)?;
    // The shadow injector answers after the decision.
    review(shown, "fourth").await?;
    browser.wait_for_text("fourth-")?;
    browser.enter("#filter", "variable")?;
    browser.wait_for("document.querySelectorAll('#differences details').length > 0")?;
    browser.click("#differences summary")?;
    browser.wait_for_text("1 × variable changed")?;
    browser.enter("#filter", "own-database")?;
    browser.wait_for("document.querySelectorAll('#differences details:not([open])').length > 0")?;
    browser.click("#differences details:not([open]) summary")?;
    browser.wait_for_text("would deny")?;
    assert_eq!(browser.evaluate("document.querySelectorAll('main img, main script').length")?, 0);
    check_page(browser, "shadows")
}

/// The diff of a pod without values, and the API server's answer; then a pod that is not valid.
fn check_trial(browser: &mut Browser, shown: &Shown) -> Result<()> {
    go_to(browser, "try", "What the webhook would do")?;
    let pod = asking("tried", [request("db", "password", EnvVar, "")]);
    browser.enter("#namespace", shown.team.name())?;
    browser.enter("#pod", &serde_json::to_string_pretty(&pod)?)?;
    browser.click("#api-server")?;
    browser.click("main button[type=submit]")?;
    browser.wait_for_text("Verdict: allowed")?;
    browser.wait_for_text("It would store the pod.")?;
    let text = browser.evaluate("document.querySelector('#result').innerText")?;
    let text = text.as_str().context("a text")?;
    ensure!(text.contains("+ /spec/containers/0/env") && text.contains("(hidden)") && !text.contains(CANARY), "{text}");
    check_page(browser, "try")?;
    let link = browser.evaluate("location.hash")?;
    assert_eq!(link, json!(format!("#/try?namespace={}&apiServer=true", shown.team.name())));
    browser.enter("#pod", "apiVersion: v1\nkind: Pod\nspec: { containers: [{ name: a }] }\nmetadata: { name: [a }")?;
    browser.click("main button[type=submit]")?;
    browser.wait_for_text("not YAML at line 4")?;
    let expected: Vec<Value> = vec![json!(true)];
    let log = browser.take_log();
    let only_status = log.iter().map(|line| json!(line.contains("400"))).collect::<Vec<_>>();
    assert_eq!(only_status, expected, "{log:?}");
    Ok(())
}
