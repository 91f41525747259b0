//! The page about metrics, written from their table.
//! In: the table. Out: the text of docs/metrics.md; a test compares it with the file.

use super::{Kind, NUMBERS, TABLE, Told};

const HEAD: &str = "\
# Metrics

<!-- Written from the table of metrics; a test compares. To write it anew: UPDATE_DOCS=1 cargo test --lib metrics_page -->

`GET /metrics` on the dashboard's port (`WORKER_DASHBOARD_PORT`: 1511, or the next free one; the log line `dashboard` has the
URL) answers in the OpenMetrics format, which Prometheus reads as it is:

```yaml
scrape_configs:
  - job_name: gpu-worker            # one for each queue: panels and alerts of the queue take its agents together
    scrape_interval: 15s
    authorization:                  # only if WORKER_DASHBOARD_TOKEN is set, which it must be beyond this machine
      credentials_file: /etc/prometheus/gpu-worker.token    # the token and nothing else, mode 0600
    static_configs:
      - targets: ['127.0.0.1:1511', 'render-07.example.org:1511']

rule_files: [alerts.yaml]           # packaging/grafana/alerts.yaml, if you like
```

For agents on other machines: `WORKER_DASHBOARD_HOST=0.0.0.0` and `WORKER_DASHBOARD_TOKEN` there; every request needs the token then,
`/healthz` and `/readyz` too. The target must name its server by address or by a name of `WORKER_DASHBOARD_ALLOWED_HOSTS`.

`/healthz` answers 200 while every loop of the agent comes round, 503 with their names if one hangs. `/readyz` answers 200
while Redis answers, an engine is healthy, outputs can be stored, and the agent is neither paused nor draining; else 503 with
`reasons`, each a `code` (`redis`, `engines`, `outputs`, `paused`, `draining`, `drained`) and a `message`. Neither stands in for the other: an agent without Redis is alive and not ready, and
starting it anew would not help.

## Grafana and alerts

`packaging/grafana/` (in the archive: `grafana/`) has a dashboard and rules for alerts, both of plain Prometheus and of Grafana's own
panels; a test holds every name and label in them against the table below.

- **Dashboard.** In Grafana 9 or newer: Dashboards, Import, upload `gpu-worker.json`; choose the Prometheus above at its top. Or put it
  into the folder of a file provider (`/etc/grafana/provisioning/dashboards/`). Its variables choose data source, scrape job and agents.
- **Alerts.** `alerts.yaml` goes beside `prometheus.yml`, into `rule_files`. Among them: an agent is gone, hangs or cannot work, Redis
  is away, an engine is down, a breaker does not close for 5 minutes, a GPU is fenced, lost or hot, a job waits for a quarter of an
  hour that a worker could run, jobs wait that no worker can run.

## How many series

A dozen for each worker and each engine, two dozen for each card, a hundred for the agent; and what jobs bring, which is bounded:

- No label holds a job's id. Of services the first 50 names are kept, the rest is `other`, and `unknown` where a job ended before it
  was read.
- `class` is the id of a class of waiting jobs. Those 50 have series whose turn comes first, as on the page: 4 each and one for each
  reason (of 23 kinds) for which a worker does not fit, mostly one or two: some 300 series, 1350 at the very most. They go with their
  class. Where jobs ask for something else each time, new ones come all day; `metric_relabel_configs` can drop
  `gpu_worker_queue_class_.*`, and the queue's totals stay.
- Of the kinds of models that an engine lists 50 have a name, the rest is `other`.

What nobody knows has no sample: a card that does not tell a reading, the queue while Redis is away, the progress of an idle
worker. Counters begin at 0 with the process. `type` and `reason` are those of [failures.md](failures.md). Ratios are 0 to 1,
times are seconds, points in time seconds since 1970.

The queue is read for the scrape itself (three small round trips; after 2 s without an answer it goes on without), so it is
of now however seldom somebody asks. `/readyz` is little work: it looks at slots and engines and reads neither Redis nor `/proc`.

## All metrics

| name | kind | labels | meaning |
|---|---|---|---|
";

const NUMBERS_HEAD: &str = "
## Each number of the page

The page is made from `/api/snapshot` ([dashboard-api.md](dashboard-api.md)) and nothing else. These are all numbers and yes-or-no values
in it, and where they are in `/metrics`; tests fail for one that is not listed. `[]` is every entry of a list, `*` every key.

| in `/api/snapshot` | in `/metrics` |
|---|---|
";

/// docs/metrics.md.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for row in TABLE {
        let kind = match row.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let labels: Vec<String> = row.labels.iter().map(|label| format!("`{label}`")).collect();
        page += &format!("| `{}` | {kind} | {} | {} |\n", row.sample(), labels.join(", "), row.help);
    }
    page += NUMBERS_HEAD;
    for number in NUMBERS {
        let told = match &number.told {
            Told::By(metrics, how) => {
                let names = metrics.iter().map(|metric| format!("`{}`", TABLE[*metric as usize].sample()));
                let names = names.collect::<Vec<_>>().join(", ");
                if how.is_empty() { names } else { format!("{names}: {how}") }
            }
            Told::Not(why) => format!("none: {why}"),
        };
        page += &format!("| `{}` | {told} |\n", number.path);
    }
    page
}
