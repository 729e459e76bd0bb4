//! The start of a pod that fetches its secrets, compared with that of a pod without secrets.
//!
//! The containers run with runc on this machine, as in the tests of `delivery: pod`. The store
//! answers at once, so its own time is not part of the figures.

#[allow(dead_code, reason = "shared with the tests, of which this program uses a part")]
#[path = "../e2e/pod_fetch/place.rs"]
mod place;
#[allow(dead_code, reason = "shared with the tests, of which this program uses a part")]
#[path = "../e2e/support.rs"]
mod support;

use std::time::{Duration, Instant};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{
    Node, asking,
    figures::{Cell, Part, Table},
    network::{again_in_own_network, show},
};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::place::{APP, Place, PodStore};
use self::support::request;

const ABOUT: &str = "The containers of a pod run in order with runc, and each pod has its own volumes and tokens. A start ends \
    with the last container, which does nothing. `the program` is its own time, from its first instruction to the last \
    file. The store answers at once, over TLS. The pods alternate; each figure is a median.";
/// The time for all starts.
const LIMIT: Duration = Duration::from_secs(1800);

/// A pod with the times of its starts.
struct Started {
    what: String,
    pod: Value,
    times: Vec<Duration>,
    /// The time of the program, as its audit line states it.
    program: Vec<Duration>,
}

fn main() -> Result<()> {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let arguments = if is_quick { &["--quick"][..] } else { &[] };
    let Some(output) = again_in_own_network(arguments, LIMIT) else {
        let vault = PodStore::vault();
        return Runtime::new()?.block_on(measure(&vault, if is_quick { 2 } else { 40 }));
    };
    show(&String::from_utf8_lossy(&output.stdout));
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn measure(vault: &PodStore, starts: usize) -> Result<()> {
    let place = Place::new("pod-start", vault).await?;
    let ampoule = place.webhook("both").await?;
    let plain = running(asking("app", [] as [String; 0]));
    let mut with_empty = plain.clone();
    with_empty["spec"]["initContainers"] = json!([{ "name": "empty", "image": APP, "command": ["/bin/true"] }]);
    let started = |what: &str, pod| Started { what: what.to_owned(), pod, times: Vec::new(), program: Vec::new() };
    let mut pods = vec![started("without secrets", plain), started("an init container that does nothing", with_empty)];
    for count in [1, 10] {
        let names = (0..count).map(|number| format!("V{number}"));
        let pod = asking("app", names.map(|name| request(&format!("many/{name}"), "password", EnvVar, &name)));
        let what = if count == 1 { "one secret".to_owned() } else { format!("{count} secrets") };
        pods.push(started(&what, place.mutate(&ampoule, &running(pod)).await?));
    }
    for _ in 0..starts {
        for pod in &mut pods {
            pod.start(&place).await?;
        }
    }
    let mut part = Part::new("pod", "The start of a pod that fetches", ABOUT);
    part.table(table(&pods, starts));
    ampoule.stop().await?.ensure_clean()?;
    part.write()
}

fn table(pods: &[Started], starts: usize) -> Table {
    let columns = ["pod", "start", "more than without secrets", "ratio", "the program"];
    let mut table = Table::new(format!("Medians of {starts} starts"), &columns);
    let without = median(&pods[0].times);
    for pod in pods {
        let time = median(&pod.times);
        let program =
            if pod.program.is_empty() { Cell::Text("–".to_owned()) } else { Cell::Time(median(&pod.program)) };
        table.row([
            Cell::Text(pod.what.clone()),
            Cell::Time(time),
            Cell::Difference(time, without),
            Cell::Ratio(time.as_secs_f64() / without.as_secs_f64()),
            program,
        ]);
    }
    table
}

// === impl Started ===

impl Started {
    /// Runs the pod once.
    async fn start(&mut self, place: &Place<'_>) -> Result<()> {
        let start = Instant::now();
        let node = Node::without_kubelet(place.images()?)?;
        let ended = node.run(self.pod.clone(), &place.namespace).await?;
        self.times.push(start.elapsed());
        ensure!(ended.last().context("no container ran")?.status == 0, "{ended:?}");
        let lines = ended.iter().filter(|container| container.name == "ampoule-fetch");
        for container in lines {
            let line: Value = serde_json::from_str(container.output.trim())?;
            self.program.push(Duration::from_millis(line["milliseconds"].as_u64().context("no time")?));
        }
        Ok(())
    }
}

/// The pod with a container that does nothing.
fn running(mut pod: Value) -> Value {
    pod["spec"]["containers"][0] = json!({ "name": "app", "image": APP, "command": ["/bin/true"] });
    pod
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}
