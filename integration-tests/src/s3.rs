//! An S3 server of this test's own: `moto`, which `scripts/setup` puts beside the build, with a
//! clock that a test moves.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// It says where it listens within this time.
const START_BOUND: Duration = Duration::from_secs(60);
const BUCKET: &str = "omnigraph";

/// A running server with one empty bucket. Its objects live as long as it does.
pub struct S3 {
    child: Child,
    address: String,
    /// By how much its clock is ahead.
    ahead: tempfile::NamedTempFile,
}

impl S3 {
    /// Starts a server.
    ///
    /// # Panics
    /// Where it is not installed or does not start: a test without its server must not look green.
    pub async fn start() -> S3 {
        let ahead = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(ahead.path(), "0").expect("a temporary file can be written");
        let mut child = Command::new(python())
            .arg(client("moto_s3.py"))
            .arg(ahead.path())
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("python: {e}: run scripts/setup all"));
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let (sender, addresses) = channel();
        // Reads to the end, so that the server never waits for a reader of its log.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("Running on http://") {
                    let _ = sender.send(address.trim().to_owned());
                }
            }
        });
        let address = addresses.recv_timeout(START_BOUND);
        let server = S3 {
            address: address.unwrap_or_default(),
            child,
            ahead,
        };
        assert!(
            !server.address.is_empty(),
            "moto never said where it listens: run scripts/setup all"
        );
        server.put("", Vec::new()).await;
        server
    }

    /// Moves its clock: objects that are written from now on are younger by so many hours than by
    /// the machine's clock.
    pub fn be_ahead(&self, hours: u64) {
        let seconds = (hours * 3600).to_string();
        std::fs::write(self.ahead.path(), seconds).expect("a temporary file can be written");
    }

    /// Puts an object into the bucket; the bucket itself has no name.
    pub async fn put(&self, name: &str, bytes: Vec<u8>) {
        let url = format!("http://{}/{BUCKET}/{name}", self.address);
        let url = url.trim_end_matches('/');
        let made = reqwest::Client::new().put(url).body(bytes).send().await;
        let made = made.expect("the s3 server answers");
        assert!(made.status().is_success(), "{name}: {}", made.status());
    }

    /// A storage root in it.
    pub fn root(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    /// What a process needs to reach it.
    pub fn env(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Python of `scripts/setup`, which has moto and gRPC, or that on the path.
pub fn python() -> PathBuf {
    let cache = std::env::var_os("OMNIGRAPH_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("XDG_CACHE_HOME")?).join("omnigraph")))
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/omnigraph")));
    let installed = cache.map(|cache| cache.join("tools/bin/python3"));
    match installed.filter(|path| path.is_file()) {
        Some(path) => path,
        None => PathBuf::from("python3"),
    }
}

/// A program of these tests that is written in Python.
pub fn client(name: &str) -> PathBuf {
    let directory = crate::cluster::package();
    directory.join("clients").join(name)
}
