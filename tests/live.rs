//! A run as it goes, for those who look on.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use korch::domain::event::{Assigned, Body, Counts, Event, Finished, Outcome, Ready, RunId, Skipped};
use korch::domain::object::ObjectId;
use korch::domain::run::Run;
use korch::log::{Log, NewRecord};
use serde_json::{Value, json};
use serving::*;
use uuid::Uuid;

#[path = "support/serving.rs"]
mod serving;

const RUN: RunId = RunId(Uuid::from_u128(1));
const NEXT: RunId = RunId(Uuid::from_u128(2));

/// What a page knows: the last message of each kind, and every object's story.
#[derive(Default)]
struct Page {
    last: BTreeMap<String, Value>,
    plan: Value,
    names: BTreeMap<u64, String>,
    stories: BTreeMap<u64, Vec<Value>>,
    wholes: usize,
}

impl Page {
    fn take(&mut self, message: &Message) {
        let data: Value = serde_json::from_str(&message.data).unwrap();
        if message.event == "stories" {
            if data["whole"] == true {
                self.stories.clear();
                self.names.clear();
                self.wholes += 1;
            } else {
                assert_eq!(self.plan, data["plan"], "changes are of the plan that the whole was of");
            }
            self.plan = data["plan"].clone();
            for name in data["names"].as_array().unwrap() {
                self.names.insert(name[0].as_u64().unwrap(), name[1].as_str().unwrap().to_owned());
            }
            for story in data["objects"].as_array().unwrap() {
                let story = story.as_array().unwrap();
                self.stories.insert(story[0].as_u64().unwrap(), story[1..].to_vec());
            }
        }
        self.last.insert(message.event.clone(), data);
    }

    /// A field of the run that is shown.
    fn run(&self, field: &str) -> Value {
        self.last.get("run").map_or(Value::Null, |run| run[field].clone())
    }

    /// The state codes of an object's story, by its place in the plan.
    fn states(&self, object: u64) -> Vec<u64> {
        let story = self.stories.get(&object).cloned().unwrap_or_default();
        story.chunks(4).map(|row| row[1].as_u64().unwrap()).collect()
    }

    async fn until(&mut self, viewer: &mut Viewer, test: impl Fn(&Page) -> bool) {
        while !test(self) {
            let message = viewer.next().await.expect("the stream goes on");
            self.take(&message);
        }
    }
}

fn ready(id: u64, attempt: u32) -> Body {
    Body::ObjectReady(Ready { object: ObjectId(id), attempt, cause: None, degraded: Vec::new(), entry: None })
}

fn assigned(id: u64, attempt: u32) -> Body {
    let (worker, instance) = ("w1".to_owned(), Uuid::from_u128(9));
    Body::ObjectAssigned(Assigned {
        object: ObjectId(id),
        attempt,
        worker,
        instance,
        timeout: None,
        degraded: Vec::new(),
        entry: None,
    })
}

fn finished(outcome: Outcome) -> Body {
    let counts = Counts { objects: 4, loaded: 1, failed: 1, skipped: 0, ..Counts::default() };
    Body::RunFinished(Finished { outcome, reason: None, counts, duration_seconds: 1.5, problems: None })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_from_its_request_to_its_end() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    let mut viewer = server.stream("/live", None).await;
    let mut page = Page::default();
    page.until(&mut viewer, |page| page.last.contains_key("workers") && page.last.contains_key("run")).await;
    assert_eq!((&page.last["run"], &page.last["runs"]), (&Value::Null, &json!({ "runs": [] })));
    let hello = &page.last["hello"];
    assert_eq!((&hello["token_required"], &hello["schedule"]), (&json!(false), &json!(false)));
    assert!(hello["version"].is_string());

    server.write(RUN, None, Body::RunRequested(Default::default())).await;
    page.until(&mut viewer, |page| page.run("state") == "queued").await;
    assert_eq!(page.last["run"]["plan"], Value::Null);
    server.write(RUN, Some(1), plan(world())).await;
    page.until(&mut viewer, |page| page.run("state") == "running" && page.wholes == 1).await;
    assert_eq!(page.last["run"]["plan"], page.plan);
    let graph = server.json(&format!("/runs/{RUN}/graph")).await;
    assert_eq!((&graph["plan"], &graph["objects"]["id"]), (&page.plan, &json!([1001, 1002, 2001, 3001])));

    server.write(RUN, Some(1), ready(1001, 1)).await;
    server.write(RUN, Some(1), assigned(1001, 1)).await;
    page.until(&mut viewer, |page| page.states(0) == [1, 2]).await;
    assert_eq!(page.names[&page.stories[&0][7].as_u64().unwrap()], "w1", "who runs it is told while it runs");
    server.write(RUN, None, Body::ObjectLoaded(answer(1001, None))).await;
    server.write(RUN, Some(1), ready(1002, 1)).await;
    server.write(RUN, None, Body::ObjectFailed(answer(1002, Some("no")))).await;
    let skipped = Skipped { object: ObjectId(3001), attempt: 1, because: vec![ObjectId(1002)] };
    server.write(RUN, Some(1), Body::ObjectSkipped(skipped)).await;
    page.until(&mut viewer, |page| page.states(3) == [6]).await;
    assert_eq!((page.states(0).last(), page.states(1).last()), (Some(&4), Some(&5)));
    let stages = &page.last["run"]["stages"];
    assert_eq!(
        (&stages[0]["loaded"], &stages[0]["failed"], &stages[2]["skipped"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let estimate = &page.last["run"]["estimate"];
    assert_eq!(estimate["remaining_seconds"], Value::Null, "nobody serves what is left: {estimate}");
    // The end is estimated once a second at most: 3001, which was skipped, is on no path then.
    let path = |page: &Page| page.run("estimate")["critical_path"].clone();
    page.until(&mut viewer, |page| path(page) == json!([1001, 2001])).await;

    // What the end leaves behind is cancelled.
    server.write(RUN, Some(1), finished(Outcome::Cancelled)).await;
    page.until(&mut viewer, |page| page.states(2) == [7]).await;
    assert_eq!((&page.last["run"]["state"], page.wholes), (&json!("cancelled"), 1));
    assert_eq!(page.last["run"]["stages"][1]["cancelled"], 1);

    // One who comes now is told the same at once.
    let mut late = Page::default();
    let mut viewer = server.stream(&format!("/live?run={RUN}"), None).await;
    late.until(&mut viewer, |late| late.stories == page.stories).await;
    assert_eq!((late.wholes, &late.last["run"]["run_id"]), (1, &json!(RUN)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_goes_on_where_it_was() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    server.write(RUN, Some(1), plan(world())).await;
    let path = format!("/live?run={RUN}");
    let mut stays = (server.stream(&path, None).await, Page::default());
    stays.1.until(&mut stays.0, |page| page.wholes == 1).await;
    let mut viewer = server.stream(&path, None).await;
    let mut page = Page::default();
    page.until(&mut viewer, |page| page.wholes == 1).await;
    let id = viewer.last_id.clone();
    drop(viewer);
    server.write(RUN, Some(1), ready(1001, 1)).await;
    stays.1.until(&mut stays.0, |page| page.states(0) == [1]).await;
    let mut viewer = server.stream(&path, Some(&id)).await;
    page.until(&mut viewer, |page| page.states(0) == [1]).await;
    assert_eq!(page.wholes, 1, "what came since is enough");
    // An id of another life of the process, or none of ours: the whole.
    for id in ["other.1.2.3", &format!("x{id}"), "é"] {
        let (mut viewer, mut page) = (server.stream(&path, Some(id)).await, Page::default());
        page.until(&mut viewer, |page| page.wholes == 1 && page.states(0) == [1]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_the_latest_run_is_taken_to_the_next_one() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    server.write(RUN, Some(1), plan(world())).await;
    let (mut viewer, mut page) = (server.stream("/live?run=latest", None).await, Page::default());
    let mut pinned = (server.stream(&format!("/live?run={RUN}"), None).await, Page::default());
    page.until(&mut viewer, |page| page.wholes == 1).await;
    server.write(RUN, Some(1), finished(Outcome::Failed)).await;
    server.write(NEXT, None, Body::RunRequested(Default::default())).await;
    server.write(NEXT, Some(1), plan(world())).await;
    server.write(NEXT, Some(1), ready(1002, 1)).await;
    page.until(&mut viewer, |page| page.run("run_id") == json!(NEXT) && page.states(1) == [1]).await;
    pinned.1.until(&mut pinned.0, |page| page.run("state") == "failed").await;
    // The same run planned anew, by a later reign, is told anew.
    let wholes = page.wholes;
    server.write(NEXT, Some(2), plan(world())).await;
    page.until(&mut viewer, |page| page.wholes > wholes).await;
    assert_eq!(page.states(1), [1], "what is known of objects stays with them");
    let reply = server.get("/live?run=01a20eb6-ab01-71b5-a19e-d27e993dca0c").await;
    reply.problem(404);
}

/// Whoever comes when, and however slowly it reads: at the end all have been told the same, which is what the fold says.
#[tokio::test(flavor = "multi_thread")]
async fn all_viewers_are_told_the_same_in_the_end() {
    const OBJECTS: u64 = 300;
    let server = Arc::new(Server::start(TestLog::new("log", 3), None, false).await);
    let objects: Vec<_> = (0..OBJECTS).map(|i| object(3001 + i, None, &[])).collect();
    server.write(RUN, Some(1), plan(objects)).await;
    let mut viewers = tokio::task::JoinSet::new();
    for n in 0..10_u64 {
        let server = server.clone();
        viewers.spawn(async move {
            let path = format!("/live?run={RUN}");
            let (mut viewer, mut page) = (server.stream(&path, None).await, Page::default());
            let mut taken = 0;
            loop {
                let is_over = |page: &Page| {
                    page.run("finished_at").is_string()
                        && (0..OBJECTS).all(|i| page.states(i).last().is_some_and(|state| *state >= 4))
                };
                if is_over(&page) {
                    return page.stories;
                }
                let message = viewer.next().await.unwrap();
                page.take(&message);
                taken += u64::from(message.event == "stories");
                // Every viewer is cut at places of its own; what it was told before is not told again.
                if message.event == "stories" && taken % (n + 2) == 0 {
                    let id = viewer.last_id.clone();
                    viewer = server.stream(&path, Some(&id)).await;
                }
            }
        });
    }
    for i in 0..OBJECTS {
        let id = 3001 + i;
        let answered = match i % 7 {
            0 => Body::ObjectFailed(answer(id, Some("no"))),
            _ => Body::ObjectLoaded(answer(id, None)),
        };
        let bodies = [ready(id, 1), assigned(id, 1), answered];
        let events = bodies.map(|body| Event { at: Timestamp::now(), run: Some(RUN), epoch: Some(1), body });
        let records = events.iter().map(NewRecord::of).collect();
        Log::append(&server.log, records).await.unwrap();
        if i % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    server.write(RUN, Some(1), finished(Outcome::Failed)).await;
    let phases: Vec<u64> = server.view.read(|known| {
        let board = known.history.run(RUN).and_then(Run::board).unwrap();
        (0..board.len()).map(|i| board.phase(i) as u64).collect()
    });
    let mut first = None;
    while let Some(stories) = viewers.join_next().await {
        let stories = stories.unwrap();
        for (i, phase) in phases.iter().enumerate() {
            assert_eq!(
                stories[&(i as u64)][stories[&(i as u64)].len() - 3].as_u64(),
                Some(*phase),
                "object {i}"
            );
        }
        // Numbers of names may differ by the order in which they came; there is one here.
        assert_eq!(*first.get_or_insert_with(|| stories.clone()), stories);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runs_events_are_read_from_the_log() {
    let server = Server::start(TestLog::new("log", 3), None, false).await;
    server.write(RUN, None, Body::RunRequested(Default::default())).await;
    server.write(RUN, Some(1), plan(world())).await;
    server.write(RUN, Some(1), ready(1001, 1)).await;
    let until = Timestamp::now();
    server.write(NEXT, None, Body::RunRequested(Default::default())).await;
    server.write(RUN, None, Body::ObjectLoaded(answer(1001, None))).await;
    let path = format!("/runs/{RUN}/events");
    let types = |reply: &Value| -> Vec<String> {
        let events = reply["events"].as_array().unwrap().iter();
        events.map(|event| event["event_type"].as_str().unwrap().to_owned()).collect()
    };
    let all = server.json(&path).await;
    assert_eq!(types(&all), ["RunRequested", "RunPlanned", "ObjectReady", "ObjectLoaded"]);
    assert_eq!(all["more"], false);
    let before = server.json(&format!("{path}?until={until}")).await;
    assert_eq!(types(&before), ["RunRequested", "RunPlanned", "ObjectReady"]);
    let last = server.json(&format!("{path}?limit=1")).await;
    assert_eq!((types(&last), &last["more"]), (vec!["ObjectLoaded".to_owned()], &json!(true)));
    let of_object = server.json(&format!("{path}?object=1001")).await;
    assert_eq!(types(&of_object), ["ObjectReady", "ObjectLoaded"]);
    let of_type = server.json(&format!("{path}?type=RunPlanned")).await;
    assert_eq!(types(&of_type), ["RunPlanned"]);
    server.get(&format!("{path}?until=yesterday")).await.problem(400);
    server.get(&format!("{path}?limit=0")).await.problem(400);
    server.get("/runs/01a20eb6-ab01-71b5-a19e-d27e993dca0c/events").await.problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_by_itself_and_field_by_field() {
    let server = Server::start(TestLog::new("log", 1), None, false).await;
    server.write(RUN, Some(1), plan(world())).await;
    let object = server.json(&format!("/runs/{RUN}/objects/2001")).await;
    let relative = |id: u64, name: &str, stage: &str| json!({ "id": id, "name": name, "stage": stage, "state": "waiting" });
    assert_eq!(object["parents"], json!([relative(1001, MARKUP, "ingest")]));
    assert_eq!(object["children"], json!([relative(3001, "Final", "application")]));
    assert_eq!(object["entry"], json!({ "IdObjet": 2001, "NomObjet": "Clients" }));
    let graph = server.json(&format!("/runs/{RUN}/graph")).await;
    assert_eq!(graph["fields"], json!(["IdObjet", "NomObjet"]));
    assert_eq!(graph["objects"]["parents"][3], json!([2, 1]));
    assert_eq!(graph["groups"]["objects"], json!([2, 1, 1]));
    assert_eq!(graph["groups"]["edges"], json!([[0, 1, 1], [0, 2, 1], [1, 2, 1]]));
    let fields = server.json(&format!("/runs/{RUN}/fields?names=NomObjet,Nope")).await;
    assert_eq!(fields["fields"]["NomObjet"], json!([MARKUP, null, "Clients", "Final"]));
    assert_eq!(fields["fields"]["Nope"], json!([null, null, null, null]));
    server.get(&format!("/runs/{RUN}/fields?names=a,b,c,d,e,f,g,h,i")).await.problem(400);
    let around = server.json(&format!("/runs/{RUN}/graph/2001")).await;
    assert_eq!(around["index"], json!([0, 2, 3]));
    assert_eq!(around["layout"]["x"].as_array().unwrap().len(), 3);
    for path in ["objects/9999", "objects/x", "graph/9999"] {
        server.get(&format!("/runs/{RUN}/{path}")).await.problem(404);
    }
    server.write(NEXT, None, Body::RunRequested(Default::default())).await;
    for path in ["graph", "graph/2001", "objects/2001", "fields"] {
        server.get(&format!("/runs/{NEXT}/{path}")).await.problem(404);
    }
}
