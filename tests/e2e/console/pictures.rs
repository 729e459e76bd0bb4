//! The pictures of the book: pages of the console with fixed texts in a fixed window.
//!
//! With `AMPOULE_BOOK_PICTURES`, the test writes them into that folder; copy them to
//! `docs/src/console`. Without it, the test checks that the pages still have what the book shows.

use std::{collections::BTreeMap, fs, path::Path};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Browser, Connection, Review, asking, eventually};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    CANARY, Shown,
    pages::{go_to, sign_in},
};
use crate::{cluster::NOTICED, support::request};

/// Bytes of the largest picture.
const LARGEST: usize = 60 << 10;
/// Width of the window.
const WIDTH: u32 = 960;

/// Stops the page's requests, and replaces what differs from run to run: times, durations, ids and
/// the name of the namespace.
const FIX: &str = r"((namespace) => {
  Object.defineProperty(document, 'hidden', { value: true, configurable: true });
  const rules = [
    [namespace, 'team-a'], [/\d+:\d\d:\d\d( [AP]M)?/g, '12:00:00'], [/[\d.]+ (µs|ms)/g, '0.4 ms'], [/\b\d+ min/g, '42 min'],
    [/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}/g, '705ab4f5-6393-11e8-b7cc-42010a800002'],
  ];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    for (const [from, to] of rules) texts.currentNode.data = texts.currentNode.data.replaceAll(from, to);
  }
  for (const input of document.querySelectorAll('input')) input.value = input.value.replace(namespace, 'team-a');
  document.activeElement?.blur();
  scrollTo(0, 0);
})";

/// The pictures by their name.
struct Pictures<'a> {
    browser: Browser,
    shown: &'a Shown,
    taken: BTreeMap<String, Vec<u8>>,
}

// === impl Pictures ===

impl Pictures<'_> {
    /// Takes the picture of this height.
    fn take(&mut self, name: &str, height: u32) -> Result<()> {
        self.browser.size(WIDTH, height, false)?;
        self.browser.evaluate(&format!("{FIX}({})", json!(self.shown.team.name())))?;
        let page = self.browser.evaluate("document.documentElement.outerHTML")?;
        ensure!(!page.to_string().contains(CANARY), "{name} has a value");
        let picture = self.browser.picture()?;
        ensure!(picture.len() <= LARGEST, "{name} has {} bytes", picture.len());
        self.taken.insert(format!("{name}.webp"), picture);
        // Requests go on.
        self.browser.evaluate("delete document.hidden")?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_book_has_a_picture_of_each_page_that_it_shows() -> Result<()> {
    let Some(mut browser) = Browser::start("the pictures of the console in the book")? else { return Ok(()) };
    let shown = Shown::start("console-book", "{ listen: '127.0.0.1:0' }").await?;
    browser.size(WIDTH, 600, false)?;
    browser.open(&format!("http://{}", shown.ampoule.console()?))?;
    sign_in(&mut browser)?;
    let mut pictures = Pictures { browser, shown: &shown, taken: BTreeMap::new() };
    // The shadow injector is loaded after the required ones.
    let same = "ampoule_shadow_injector_total{injector=\"next\",result=\"same\"}";
    eventually("the shadow injector", NOTICED, async || {
        review(&shown, shown.other.name(), "reports", "reports").await?;
        ensure!(shown.ampoule.metric(same).await? >= 1.0, "not loaded");
        Ok(())
    })
    .await?;
    review(&shown, shown.team.name(), "billing", "db").await?;
    review(&shown, shown.team.name(), "reports", "team-x").await?;
    let browser = &mut pictures.browser;
    go_to(browser, "decisions", "reports")?;
    show_team(browser, &shown)?;
    open(browser, "decisions", "billing")?;
    browser.wait_for_text("Injector global: injected")?;
    pictures.take("decisions", 580)?;

    let browser = &mut pictures.browser;
    go_to(browser, "shadows", "billing")?;
    show_team(browser, &shown)?;
    // The shadow injector answers after the decision.
    browser.wait_for("document.querySelectorAll('#differences details').length === 2")?;
    open(browser, "differences", "own-database")?;
    open(browser, "differences", "variable")?;
    browser.wait_for_text("would deny")?;
    browser.wait_for_text("1 × variable changed")?;
    pictures.take("shadows", 580)?;

    let browser = &mut pictures.browser;
    go_to(browser, "try", "What the webhook would do")?;
    browser.enter("#namespace", shown.team.name())?;
    browser.click("main button[type=submit]")?;
    browser.wait_for_text("Verdict: allowed")?;
    pictures.take("try", 1120)?;

    check(&pictures)?;
    drop(pictures);
    shown.stop().await
}

/// Shows the namespace of the team only.
fn show_team(browser: &mut Browser, shown: &Shown) -> Result<()> {
    browser.enter("#namespace", shown.team.name())?;
    browser.press("Enter", 13)?;
    browser.wait_for_text("entries")
}

/// Opens the entry with this word.
fn open(browser: &mut Browser, list: &str, word: &str) -> Result<()> {
    browser.enter("#filter", word)?;
    browser.wait_for(&format!("document.querySelectorAll('#{list} details').length === 1"))?;
    browser.click(&format!("#{list} summary"))?;
    browser.enter("#filter", "")
}

async fn review(shown: &Shown, namespace: &str, name: &str, group: &str) -> Result<()> {
    let pod = asking(name, [request(group, "password", EnvVar, "")]);
    let mut connection = Connection::tls(shown.ampoule.webhook(), shown.ampoule.trust()).await?;
    ampoule_tests::Ampoule::review(&mut connection, &Review::of(&pod, namespace)).await?;
    Ok(())
}

/// Writes the pictures, or checks that the book has each of them and no other.
fn check(pictures: &Pictures<'_>) -> Result<()> {
    if let Some(folder) = std::env::var_os("AMPOULE_BOOK_PICTURES") {
        for (name, picture) in &pictures.taken {
            fs::write(Path::new(&folder).join(name), picture)?;
        }
        return Ok(());
    }
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src");
    let page = fs::read_to_string(book.join("console.md"))?;
    let mut committed = Vec::new();
    for file in fs::read_dir(book.join("console"))? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        ensure!(file.metadata()?.len() <= LARGEST as u64, "{name} is too large");
        ensure!(page.contains(&format!("](console/{name})")), "console.md does not show {name}");
        committed.push(Value::from(name));
    }
    committed.sort_by_key(ToString::to_string);
    let taken: Vec<_> = pictures.taken.keys().map(|name| json!(name)).collect();
    assert_eq!(committed, taken, "docs/src/console");
    Ok(())
}
