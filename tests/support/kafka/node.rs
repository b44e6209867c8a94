//! Brokers that are also their controllers: one, or a few that know each other.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use parking_lot::Mutex;
use rustix::process::Signal;
use tempfile::TempDir;

use super::client::{self, Client};
use super::install;
use super::jvm::{self, Jvm};
use super::ports::Port;
use super::proxy::Proxy;
use super::security::{PASSWORD, Security};
use crate::support::poll;

/// One broker or more, and a client of theirs (`Deref`). Dropped, they are killed and their data goes.
pub struct Kafka {
    client: Client,
    nodes: Vec<Node>,
    security: Option<Security>,
    proxied: Option<(Proxy, String)>,
    guarded: Option<Port>,
    // After the brokers that use it.
    directory: TempDir,
}

struct Node {
    id: i32,
    directory: PathBuf,
    broker: Port,
    controller: Port,
    running: Mutex<Option<Jvm>>,
}

impl Deref for Kafka {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// A way in.
#[derive(Clone)]
pub(super) struct Listener {
    pub name: &'static str,
    pub protocol: &'static str,
    /// Where the broker listens.
    pub address: String,
    /// What it tells clients: the proxy's address, where there is one.
    pub advertised: String,
}

impl Listener {
    pub fn new(name: &'static str, protocol: &'static str, port: &Port) -> Listener {
        Listener { name, protocol, address: port.address(), advertised: port.address() }
    }
}

/// What a broker has besides the listener that everyone has.
#[derive(Default)]
struct Extra {
    listeners: Vec<Listener>,
    settings: Vec<(String, String)>,
    format: Vec<String>,
    java: Vec<String>,
}

impl Kafka {
    /// One node. None, and a word on stderr, where there is no Kafka.
    pub fn start() -> Option<Kafka> {
        super::here().then(|| Kafka::launch(1, tempfile::tempdir().unwrap(), &Extra::default()))
    }

    /// This many nodes, with as many replicas of everything (at most 3) and acknowledgement by two.
    pub fn cluster(nodes: usize) -> Option<Kafka> {
        super::here().then(|| Kafka::launch(nodes, tempfile::tempdir().unwrap(), &Extra::default()))
    }

    /// One node with listeners that want a password, or a certificate, besides the open one.
    pub fn secured() -> Option<Kafka> {
        if !super::here() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let security = Security::new(directory.path());
        let extra = Extra {
            listeners: security.listeners(),
            settings: security.settings(),
            format: Security::format_arguments(),
            ..Extra::default()
        };
        let mut kafka = Kafka::launch(1, directory, &extra);
        kafka.security = Some(security);
        Some(kafka)
    }

    /// One node with a second listener, `guarded_bootstrap()`: these users come there, each with the same password, and may do
    /// what [`Kafka::allow`] gives them. Whoever comes to the open one may do everything.
    pub fn guarded(users: &[&str]) -> Option<Kafka> {
        if !super::here() {
            return None;
        }
        let port = Port::reserve();
        let users: String = users.iter().map(|user| format!(" user_{user}=\"{PASSWORD}\"")).collect();
        let login = "org.apache.kafka.common.security.plain.PlainLoginModule required";
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let extra = Extra {
            listeners: vec![Listener::new("GUARDED", "SASL_PLAINTEXT", &port)],
            settings: vec![
                setting("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
                setting("super.users", "User:ANONYMOUS"),
                setting("listener.name.guarded.sasl.enabled.mechanisms", "PLAIN"),
                setting("listener.name.guarded.plain.sasl.jaas.config", &format!("{login}{users};")),
            ],
            ..Extra::default()
        };
        let mut kafka = Kafka::launch(1, tempfile::tempdir().unwrap(), &extra);
        kafka.guarded = Some(port);
        Some(kafka)
    }

    /// One node with a second listener, `proxied_bootstrap()`: whoever comes there stays behind the proxy.
    pub fn behind_proxy() -> Option<Kafka> {
        if !super::here() {
            return None;
        }
        let behind = Port::reserve();
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = front.local_addr().unwrap().to_string();
        let extra = Extra {
            listeners: vec![Listener {
                advertised: address.clone(),
                ..Listener::new("PROXIED", "PLAINTEXT", &behind)
            }],
            ..Extra::default()
        };
        let mut kafka = Kafka::launch(1, tempfile::tempdir().unwrap(), &extra);
        kafka.proxied = Some((Proxy::start(front, behind), address));
        Some(kafka)
    }

    fn launch(count: usize, directory: TempDir, extra: &Extra) -> Kafka {
        let nodes: Vec<Node> = (1..)
            .take(count)
            .map(|id: i32| {
                let directory = directory.path().join(format!("node-{id}"));
                fs::create_dir(&directory).unwrap();
                let (broker, controller) = (Port::reserve(), Port::reserve());
                Node { id, directory, broker, controller, running: Mutex::default() }
            })
            .collect();
        let voters: Vec<String> =
            nodes.iter().map(|node| format!("{}@{}", node.id, node.controller.address())).collect();
        for node in &nodes {
            let settings = settings(node, &voters.join(","), count.min(3), extra);
            let text: String = settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            fs::write(node.configuration(), text).unwrap();
        }
        std::thread::scope(|scope| {
            for node in &nodes {
                scope.spawn(|| node.format(&extra.format));
            }
        });
        for node in &nodes {
            node.start(directory.path(), &extra.java);
        }
        let addresses: Vec<String> = nodes.iter().map(|node| node.broker.address()).collect();
        let client = Client::new(addresses.join(","));
        let kafka = Kafka { client, nodes, security: None, proxied: None, guarded: None, directory };
        kafka.wait_ready();
        kafka
    }

    /// Runs a broker once to keep its classes (`jvm::classes`) for all that come after.
    pub(super) fn keep_classes() {
        if jvm::classes().exists() {
            return;
        }
        let _lock = install::locked("kafka-classes.lock");
        if jvm::classes().exists() {
            return;
        }
        let part = jvm::classes().with_extension("part");
        let extra =
            Extra { java: vec![format!("-XX:ArchiveClassesAtExit={}", part.display())], ..Extra::default() };
        let kafka = Kafka::launch(1, tempfile::tempdir().unwrap(), &extra);
        kafka.create_topic("classes", 1);
        kafka.produce_raw("classes", None, "key", b"value");
        let broker = kafka.node(1).running.lock().take().expect("a running node");
        // One that is written half is worth nothing; then the next process tries.
        if broker.stop() {
            let _ = fs::rename(part, jvm::classes());
        }
    }

    /// The ids of the nodes: from 1.
    pub fn nodes(&self) -> Vec<i32> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    fn node(&self, id: i32) -> &Node {
        self.nodes.iter().find(|node| node.id == id).unwrap_or_else(|| panic!("no node {id}"))
    }

    /// Where this node alone is reached.
    pub fn address(&self, node: i32) -> String {
        self.node(node).broker.address()
    }

    /// The process id of a running node.
    pub fn pid(&self, node: i32) -> String {
        self.node(node).running.lock().as_ref().expect("a running node").pid()
    }

    /// Where the data and the settings are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends a node as an administrator does: it hands over its partitions first.
    pub fn stop(&self, node: i32) {
        let running = self.node(node).running.lock().take().expect("a running node");
        let _ = running.stop();
    }

    /// `kill -9`.
    pub fn kill(&self, node: i32) {
        let running = self.node(node).running.lock().take().expect("a running node");
        drop(running);
    }

    /// Starts a node that was ended, where it was and with what it had. Returns once it answers.
    pub fn start_again(&self, node: i32) {
        self.node(node).start(self.directory.path(), &[]);
        self.wait_ready();
    }

    /// The node stands still: its connections stay open and nothing is answered.
    pub fn pause(&self, node: i32) {
        self.node(node).running.lock().as_ref().expect("a running node").signal(Signal::STOP);
    }

    pub fn resume(&self, node: i32) {
        self.node(node).running.lock().as_ref().expect("a running node").signal(Signal::CONT);
    }

    /// Waits until every node that runs answers, and knows all the others that run.
    pub fn wait_ready(&self) {
        let running: Vec<&Node> = self.nodes.iter().filter(|node| node.running.lock().is_some()).collect();
        let ids: Vec<i32> = running.iter().map(|node| node.id).collect();
        for node in running {
            poll("a broker's answer", || {
                let alive = node.running.lock().as_ref().is_some_and(Jvm::is_alive);
                assert!(alive, "node {} ended:\n{}", node.id, node.said());
                let known = client::brokers_known_to(&node.broker.address())?;
                ids.iter().all(|id| known.contains(id)).then_some(())
            });
        }
    }

    /// What the secured listeners ask for.
    pub fn security(&self) -> &Security {
        self.security.as_ref().expect("Kafka::secured()")
    }

    /// The proxy before the second listener.
    pub fn proxy(&self) -> &Proxy {
        &self.proxied.as_ref().expect("Kafka::behind_proxy()").0
    }

    pub fn proxied_bootstrap(&self) -> &str {
        &self.proxied.as_ref().expect("Kafka::behind_proxy()").1
    }

    pub fn guarded_bootstrap(&self) -> String {
        self.guarded.as_ref().expect("Kafka::guarded()").address()
    }

    /// Lets these users do this with all topics whose names begin so, as an administrator does.
    pub fn allow(&self, users: &[&str], operation: &str, topics: &str) {
        let bootstrap = self.bootstrap();
        let mut arguments = vec!["--bootstrap-server", bootstrap.as_str(), "--add", "--operation", operation];
        arguments.extend(["--resource-pattern-type", "prefixed", "--topic", topics]);
        let principals: Vec<String> = users.iter().map(|user| format!("User:{user}")).collect();
        arguments.extend(principals.iter().flat_map(|principal| ["--allow-principal", principal.as_str()]));
        let (allowed, said) = Kafka::tool("org.apache.kafka.tools.AclCommand", &arguments);
        assert!(allowed, "{operation} on {topics}: {said}");
    }

    /// Runs one of Kafka's own command line tools. Returns whether it succeeded, and what it said.
    pub fn tool(class: &str, arguments: &[&str]) -> (bool, String) {
        let output = jvm::java().arg(class).args(arguments).stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for node in &self.nodes {
            node.running.lock().take();
        }
    }
}

impl Node {
    fn configuration(&self) -> PathBuf {
        self.directory.join("server.properties")
    }

    fn out(&self) -> PathBuf {
        self.directory.join("out")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.out()).unwrap_or_default()
    }

    fn format(&self, arguments: &[String]) {
        let configuration = self.configuration();
        let mut all = vec!["format", "-t", CLUSTER, "-c", configuration.to_str().unwrap()];
        all.extend(arguments.iter().map(String::as_str));
        let (formatted, said) = Kafka::tool("kafka.tools.StorageTool", &all);
        assert!(formatted, "no formatted storage: {said}");
    }

    fn start(&self, root: &Path, options: &[String]) {
        let mut running = self.running.lock();
        assert!(running.is_none(), "node {} runs", self.id);
        let configuration = self.configuration();
        let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
        arguments.extend([OsStr::new("kafka.Kafka"), configuration.as_os_str()]);
        *running = Some(Jvm::start(root, &self.out(), &arguments));
    }
}

/// Sixteen bytes in Kafka's own base64. Nothing reads it but a node that compares it with its own.
const CLUSTER: &str = "a29yY2gtdGVzdC1rYWZrYQ";

fn settings(node: &Node, voters: &str, replicas: usize, extra: &Extra) -> Vec<(String, String)> {
    let mut listeners = vec![
        Listener::new("PLAINTEXT", "PLAINTEXT", &node.broker),
        Listener::new("CONTROLLER", "PLAINTEXT", &node.controller),
    ];
    listeners.extend(extra.listeners.iter().cloned());
    let list = |item: &dyn Fn(&Listener) -> String| listeners.iter().map(item).collect::<Vec<_>>().join(",");
    let minimum = if replicas > 1 { 2 } else { 1 };
    let data = node.directory.join("data");
    let mut settings: Vec<(String, String)> = [
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", node.id.to_string()),
        ("controller.quorum.voters", voters.to_owned()),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
        ("listeners", list(&|listener| format!("{}://{}", listener.name, listener.address))),
        ("advertised.listeners", list(&|listener| format!("{}://{}", listener.name, listener.advertised))),
        (
            "listener.security.protocol.map",
            list(&|listener| format!("{}:{}", listener.name, listener.protocol)),
        ),
        ("log.dirs", data.display().to_string()),
        // A topic that nobody made is a mistake that a test should see.
        ("auto.create.topics.enable", "false".to_owned()),
        ("default.replication.factor", replicas.to_string()),
        ("min.insync.replicas", minimum.to_string()),
        ("offsets.topic.replication.factor", replicas.to_string()),
        ("transaction.state.log.replication.factor", replicas.to_string()),
        ("transaction.state.log.min.isr", minimum.to_string()),
        ("share.coordinator.state.topic.replication.factor", replicas.to_string()),
        ("share.coordinator.state.topic.min.isr", minimum.to_string()),
        ("offsets.topic.num.partitions", "1".to_owned()),
        ("transaction.state.log.num.partitions", "1".to_owned()),
        ("share.coordinator.state.topic.num.partitions", "1".to_owned()),
        // Short, for tests that wait for it: a group's first member, a dead member, a dead broker.
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
        ("group.min.session.timeout.ms", "500".to_owned()),
        ("broker.session.timeout.ms", "3000".to_owned()),
        ("broker.heartbeat.interval.ms", "500".to_owned()),
        ("log.cleaner.backoff.ms", "500".to_owned()),
        // Small, for a machine that does other things too.
        ("num.network.threads", "2".to_owned()),
        ("num.io.threads", "4".to_owned()),
        ("background.threads", "2".to_owned()),
        ("log.cleaner.dedupe.buffer.size", "4194304".to_owned()),
        ("log.index.size.max.bytes", "1048576".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    settings.extend(extra.settings.iter().cloned());
    settings
}
