//! Which planes a command speaks to. Each command resolves this afresh: flags, then the
//! environment, then a running `up` of this directory or a parent, then the directory itself.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::error::{Error, Result};

/// A running `up` answers within this time, or it is not running.
const ALIVE_TIMEOUT: Duration = Duration::from_millis(500);

/// What `up` writes to `DIR/.omnigraph/up.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Up {
    pub(crate) pid: u32,
    /// The directory of declarations.
    pub(crate) dir: PathBuf,
    pub(crate) storage: String,
    /// `ip:port` each.
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) control: SocketAddr,
}

/// The address of one plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `http(s)://…` for data, `grpc(s)://…` for either.
    Remote { url: String, local: bool },
    /// In this process.
    Embedded(Root),
}

/// What an embedded command works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// A directory with `cluster.yaml`, which may name another storage.
    Declared(PathBuf),
    /// A storage root.
    Storage(String),
}

impl Root {
    /// Whether losing data here concerns nobody else.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Root::Declared(_) => true,
            Root::Storage(uri) => !uri.contains("://") || uri.starts_with("file://"),
        }
    }
}

impl Up {
    /// Where the file of a directory is.
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join(".omnigraph").join("up.json")
    }

    /// The running `up` of exactly this directory.
    pub(crate) fn of(dir: &Path) -> Option<Up> {
        let text = std::fs::read_to_string(Up::path(dir)).ok()?;
        let up: Up = serde_json::from_str(&text).ok()?;
        up.is_alive().then_some(up)
    }

    /// The running `up` of a directory or its nearest parent.
    pub(crate) fn find(dir: &Path) -> Option<Up> {
        let dir = dir.canonicalize().ok()?;
        dir.ancestors().find_map(Up::of)
    }

    fn is_alive(&self) -> bool {
        TcpStream::connect_timeout(&self.control, ALIVE_TIMEOUT).is_ok()
    }
}

/// Addresses as they were given, flags before environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    control: Option<String>,
    server: Option<String>,
    cluster: Option<String>,
}

impl Given {
    /// A flag hides what the environment says about the same or an exclusive address.
    pub(crate) fn new(global: &Global, env: &dyn Fn(&str) -> Option<String>) -> Result<Given> {
        let planes = global.control.is_some() || global.server.is_some();
        let of = |flag: &Option<String>, name: &str, hidden: bool| {
            let from_env = || env(name).filter(|value| !value.is_empty() && !hidden);
            flag.clone().or_else(from_env)
        };
        let given = Given {
            control: of(
                &global.control,
                "OMNIGRAPH_CONTROL",
                global.cluster.is_some(),
            ),
            server: of(&global.server, "OMNIGRAPH_SERVER", global.cluster.is_some()),
            cluster: of(&global.cluster, "OMNIGRAPH_CLUSTER", planes),
        };
        if given.cluster.is_some() && (given.control.is_some() || given.server.is_some()) {
            return Err(Error::usage(
                "OMNIGRAPH_CLUSTER cannot be set together with OMNIGRAPH_CONTROL or OMNIGRAPH_SERVER",
            ));
        }
        Ok(given)
    }

    /// Where the control plane of a directory's cluster is.
    pub(crate) fn control(
        &self,
        dir: &Path,
        find: &dyn Fn(&Path) -> Option<Up>,
    ) -> Result<Address> {
        if let Some(url) = &self.control {
            let schemes = ["grpc://", "grpcs://"];
            // Several processes may stand by for one cluster.
            for one in url.split(',') {
                remote(one, &schemes, "the control plane", "grpc://host:8090")?;
            }
            return remote(url, &schemes, "the control plane", "grpc://host:8090");
        }
        if let Some(cluster) = &self.cluster {
            return Ok(Address::Embedded(root(cluster)?));
        }
        if let Some(up) = find(dir) {
            let url = format!("grpc://{}", up.control);
            return Ok(Address::Remote { url, local: true });
        }
        declared(dir, "--control grpc://host:8090")
    }

    /// Where the data is, seen from a directory.
    pub(crate) fn data(&self, dir: &Path, find: &dyn Fn(&Path) -> Option<Up>) -> Result<Address> {
        if let Some(url) = &self.server {
            let schemes = ["http://", "https://", "grpc://", "grpcs://"];
            return remote(url, &schemes, "a server", "http://host:8080");
        }
        if let Some(cluster) = &self.cluster {
            return Ok(Address::Embedded(root(cluster)?));
        }
        if let Some(up) = find(dir) {
            let url = format!("http://{}", up.http);
            return Ok(Address::Remote { url, local: true });
        }
        declared(dir, "--server http://host:8080")
    }

    /// The directory of declarations that `--cluster` names, if it names one.
    pub(crate) fn declared_dir(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.cluster.as_deref()?);
        path.join("cluster.yaml").is_file().then_some(path)
    }
}

fn remote(url: &str, schemes: &[&str], what: &str, example: &str) -> Result<Address> {
    if !schemes.iter().any(|scheme| url.starts_with(scheme)) {
        return Err(
            Error::usage(format!("'{url}' is not the address of {what}"))
                .with_hint(format!("write it as {example}")),
        );
    }
    Ok(Address::Remote {
        url: url.to_owned(),
        local: false,
    })
}

fn root(cluster: &str) -> Result<Root> {
    if cluster.contains("://") {
        return Ok(Root::Storage(cluster.to_owned()));
    }
    let path = PathBuf::from(cluster);
    let declared = path.join("cluster.yaml").is_file();
    if declared {
        Ok(Root::Declared(path))
    } else if path.join("cluster").join("ledger").is_dir() {
        let path = path.canonicalize();
        let path = path.map_err(|e| Error::usage(format!("{cluster}: {e}")))?;
        Ok(Root::Storage(path.display().to_string()))
    } else {
        Err(Error::usage(format!(
            "{cluster} has no cluster.yaml and is no storage root"
        ))
        .with_hint("name a directory with cluster.yaml, or a storage root that apply has written"))
    }
}

fn declared(dir: &Path, instead: &str) -> Result<Address> {
    if dir.join("cluster.yaml").is_file() {
        return Ok(Address::Embedded(Root::Declared(dir.to_owned())));
    }
    let shown = dir.display();
    Err(Error::usage(format!(
        "no address: {shown} has no cluster.yaml and no running up"
    ))
    .with_hint(format!("use {instead} or --cluster DIR")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(flags: [Option<&str>; 3], env: &[(&str, &str)]) -> Result<Given> {
        let [control, server, cluster] = flags.map(|f| f.map(str::to_owned));
        let global = Global {
            control,
            server,
            cluster,
            ..Global::default()
        };
        let env: Vec<_> = env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Given::new(&global, &|name| {
            env.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone())
        })
    }

    fn url(address: Address) -> String {
        match address {
            Address::Remote { url, .. } => url,
            Address::Embedded(root) => format!("{root:?}"),
        }
    }

    fn running(_: &Path) -> Option<Up> {
        Some(Up {
            pid: 1,
            dir: "/x".into(),
            storage: "/x".into(),
            http: "127.0.0.1:1".parse().unwrap(),
            grpc: "127.0.0.1:2".parse().unwrap(),
            control: "127.0.0.1:3".parse().unwrap(),
        })
    }

    #[test]
    fn precedence() {
        let dir = tempfile::tempdir().unwrap();
        let env = [
            ("OMNIGRAPH_CONTROL", "grpc://env:1"),
            ("OMNIGRAPH_SERVER", "http://env:2"),
        ];
        let flag = given([Some("grpc://flag:1"), None, None], &env).unwrap();
        assert_eq!(
            url(flag.control(dir.path(), &running).unwrap()),
            "grpc://flag:1"
        );
        assert_eq!(
            url(flag.data(dir.path(), &running).unwrap()),
            "http://env:2"
        );
        let none = given([None; 3], &[]).unwrap();
        assert_eq!(
            url(none.control(dir.path(), &running).unwrap()),
            "grpc://127.0.0.1:3"
        );
        assert_eq!(
            url(none.data(dir.path(), &running).unwrap()),
            "http://127.0.0.1:1"
        );
        let error = none.data(dir.path(), &|_| None).unwrap_err();
        assert!(error.message.starts_with("no address"), "{}", error.message);
        std::fs::write(dir.path().join("cluster.yaml"), "version: 1\n").unwrap();
        let embedded = none.data(dir.path(), &|_| None).unwrap();
        assert_eq!(
            embedded,
            Address::Embedded(Root::Declared(dir.path().to_owned()))
        );
        let path = dir.path().display().to_string();
        let cluster = given([None, None, Some(&path)], &env).unwrap();
        assert_eq!(cluster.control(dir.path(), &running).unwrap(), embedded);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let here = Path::new(".");
        for (flags, part) in [
            (
                [Some("prod"), None, None],
                "'prod' is not the address of the control plane",
            ),
            (
                [Some("http://x"), None, None],
                "is not the address of the control plane",
            ),
            (
                [Some("grpc://x:1,y:2"), None, None],
                "'y:2' is not the address of the control plane",
            ),
        ] {
            let error = given(flags, &[])
                .unwrap()
                .control(here, &|_| None)
                .unwrap_err();
            assert!(error.message.contains(part), "{}", error.message);
        }
        let server = given([None, Some("host:80"), None], &[]).unwrap();
        assert!(server.data(here, &|_| None).is_err());
        let missing = given([None, None, Some("/nowhere")], &[]).unwrap();
        assert!(missing.data(here, &|_| None).is_err());
        let both = [("OMNIGRAPH_CLUSTER", "x"), ("OMNIGRAPH_SERVER", "http://y")];
        assert!(given([None; 3], &both).is_err());
    }

    #[test]
    fn a_dead_up_is_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = Up::path(dir.path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut up = running(dir.path()).unwrap();
        up.control = listener.local_addr().unwrap();
        std::fs::write(&path, serde_json::to_string(&up).unwrap()).unwrap();
        let below = dir.path().join("queries");
        std::fs::create_dir(&below).unwrap();
        assert_eq!(Up::find(&below), Some(up));
        drop(listener);
        assert_eq!(Up::find(&below), None);
    }
}
