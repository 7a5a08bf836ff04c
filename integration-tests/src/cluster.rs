//! A copy of the shipped example or a small graph, and the daemons that serve it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::{Run, omnigraphctl};
use crate::process::Daemon;

/// The schema of a small graph, whose items have images.
const SHOP: &str = "
node Item { name: String @key  size: I32?  image: Blob? }
edge Needs: Item -> Item { @key(src, dst) }
";

/// A temporary place with declarations, a storage root and the daemons' logs.
pub struct Place {
    dir: tempfile::TempDir,
    /// Where the storage is, if not beside the declarations.
    remote: Option<String>,
}

impl Place {
    /// The example with a storage root of its own.
    pub fn new() -> Place {
        let place = Place::declared();
        place.separate();
        place
    }

    /// The example as it is shipped: its directory is its storage root.
    pub fn declared() -> Place {
        let place = Place::empty(None);
        let example = package().join("../examples/debian");
        copy(&example, &place.config());
        place
    }

    /// A graph `shop` without data, on a storage root of its own: a directory, or that URI. `more`
    /// goes into the graph's declaration.
    pub fn shop(remote: Option<String>, more: &str) -> Place {
        let place = Place::empty(remote.clone());
        std::fs::create_dir_all(place.config()).expect("a directory can be made");
        place.write("shop.pg", SHOP);
        place.write(
            "cluster.yaml",
            &format!(
                "version: 1\nmetadata:\n  name: shop\ngraphs:\n  shop:\n    schema: shop.pg\n{more}"
            ),
        );
        match remote {
            None => place.separate(),
            Some(uri) => place.edit("cluster.yaml", |text| format!("{text}storage: {uri}\n")),
        }
        place
    }

    fn empty(remote: Option<String>) -> Place {
        let dir = tempfile::Builder::new()
            .prefix("omnigraph-e2e-")
            .tempdir()
            .expect("a directory");
        Place { dir, remote }
    }

    /// Puts the storage root beside the declarations.
    fn separate(&self) {
        let storage = self.storage();
        std::fs::create_dir(&storage).expect("a storage root");
        self.edit("cluster.yaml", |text| {
            format!("{text}storage: {}\n", storage.display())
        });
    }

    /// The directory of declarations.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("debian")
    }

    /// Where daemons and `--cluster` find the storage, where it is local.
    pub fn storage(&self) -> PathBuf {
        self.dir.path().join("storage")
    }

    /// The storage root, wherever it is.
    pub fn root(&self) -> String {
        let local = self.storage();
        let local = local.to_str().expect("a temporary path is UTF-8");
        self.remote.clone().unwrap_or_else(|| local.to_owned())
    }

    /// Writes a declared file.
    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.config().join(file), text).expect("a declared file can be written");
    }

    /// Where daemons log.
    pub fn logs(&self) -> &Path {
        self.dir.path()
    }

    /// The example's data.
    pub fn data(&self) -> PathBuf {
        self.config().join("debian-small.ndjson")
    }

    /// Rewrites a declared file.
    pub fn edit(&self, file: &str, change: impl FnOnce(&str) -> String) {
        let path = self.config().join(file);
        let text = std::fs::read_to_string(&path).expect("a declared file");
        let changed = change(&text);
        assert_ne!(text, changed, "the edit of {file} changes nothing");
        self.write(file, &changed);
    }

    /// Adds an optional text property to Package.
    pub fn add_property(&self, name: &str) {
        self.edit("debian.pg", |text| {
            text.replacen(
                "    homepage: String?\n",
                &format!("    homepage: String?\n    {name}: String?\n"),
                1,
            )
        });
    }

    /// Runs a command in the directory of declarations.
    pub async fn ctl(&self, args: &[&str]) -> Run {
        omnigraphctl(&self.config(), args).await
    }
}

impl Default for Place {
    fn default() -> Self {
        Place::new()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory can be made");
    for entry in std::fs::read_dir(from).expect("the example is there") {
        let entry = entry.expect("the example can be listed");
        let name = entry.file_name();
        let text = name.to_string_lossy();
        // What a run of the example leaves behind is not part of it.
        if text.starts_with('.') || text == "cluster" || text == "graphs" {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type().expect("an entry has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("the example can be copied");
        }
    }
}

/// A control plane on the storage of a place.
pub fn control_plane(place: &Place, name: &str, bind: &str, env: &[(&str, &str)]) -> Daemon {
    let storage = place.root();
    let args = [
        "--cluster",
        &storage,
        "--grpc-bind",
        bind,
        "--unauthenticated",
    ];
    Daemon::start("omnigraph-control-plane", name, &args, env, place.logs())
}

/// A replica with its gateway.
pub struct Replica {
    pub daemon: Daemon,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
}

impl Replica {
    /// A replica on the storage of a place, with or without a control plane.
    pub fn start(place: &Place, name: &str, control: Option<SocketAddr>) -> Replica {
        Replica::start_with(place, name, control, &["--unauthenticated"], &[])
    }

    /// The same with more flags and environment.
    pub fn start_with(
        place: &Place,
        name: &str,
        control: Option<SocketAddr>,
        more: &[&str],
        env: &[(&str, &str)],
    ) -> Replica {
        let storage = place.root();
        let control = control.map(|address| format!("grpc://{address}"));
        let mut args = vec!["--cluster", &storage, "--replica-id", name];
        args.extend(more);
        args.extend(["--bind", "127.0.0.1:0", "--grpc-bind", "127.0.0.1:0"]);
        if let Some(control) = &control {
            args.extend(["--control", control]);
        }
        let mut daemon = Daemon::start("omnigraph-data-plane", name, &args, env, place.logs());
        let http = daemon.address("OMNIGRAPH_LISTEN_ADDR");
        let grpc = daemon.address("OMNIGRAPH_GRPC_ADDR");
        Replica { daemon, http, grpc }
    }

    /// `http://ip:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Whether `/readyz` says ready.
    pub async fn is_ready(&self) -> bool {
        let answer = reqwest::get(format!("{}/readyz", self.url())).await;
        answer.is_ok_and(|a| a.status().is_success())
    }

    /// A stored query of the graph, as status and body.
    pub async fn ask(&self, query: &str, params: Value) -> (u16, Value) {
        let url = format!("{}/graphs/debian/queries/{query}", self.url());
        let request = reqwest::Client::new()
            .post(url)
            .json(&json!({ "params": params }));
        let answer = request.send().await.expect("the replica answers");
        let status = answer.status().as_u16();
        let body = answer.text().await.expect("the answer can be read");
        (
            status,
            serde_json::from_str(&body).expect("the answer is JSON"),
        )
    }

    /// The columns of `find_package`, which change with the stored query.
    pub async fn columns(&self) -> Vec<String> {
        let (status, body) = self.ask("find_package", json!({"name": "git"})).await;
        assert_eq!(status, 200, "{body}");
        let columns = body["columns"].as_array().expect("columns");
        columns
            .iter()
            .filter_map(|c| c.as_str().map(str::to_owned))
            .collect()
    }
}

/// Where the package is now: whoever compiled this may have had it elsewhere.
pub(crate) fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .expect("cargo says where the package is")
        .into()
}
