//! Policies at the doors of a replica.

mod doors;
mod states;
mod types;

use http::StatusCode;
use omnigraph_policy::{Action, Credentials, Kind};

use super::{Got, ITEMS, LONG, QUERIES, SCHEMA, World, call_as};
use crate::{Access, Boot, Options, Replica};

/// Declares `policies:` beside the shop.
fn cluster(policies: &str) -> String {
    format!("{}{policies}", super::CLUSTER)
}

const SHOP: &str = "policies:\n  shop: { file: shop.yaml, applies_to: [shop] }\n";

/// One actor per action, who may do that and nothing else.
fn one_action_each(kind: Kind) -> String {
    let actions = || Action::ALL.into_iter().filter(|a| a.kind() == kind);
    let groups: String = actions()
        .map(|action| format!("  {action}: [act-{action}]\n"))
        .collect();
    let rules: String = actions()
        .map(|action| {
            format!("  - {{ id: may-{action}, allow: {{ actors: {{ group: {action} }}, actions: [{action}] }} }}\n")
        })
        .collect();
    format!("version: 1\ngroups:\n{groups}rules:\n{rules}")
}

/// Tokens are the actors' names with a `t-` before them.
fn credentials(actors: impl IntoIterator<Item = impl AsRef<str>>) -> Credentials {
    let entries = actors
        .into_iter()
        .map(|actor| format!("\"{0}\": \"t-{0}\"", actor.as_ref()));
    let entries: Vec<String> = entries.collect();
    Credentials::tokens(&format!("{{{}}}", entries.join(","))).expect("a table of tokens")
}

fn all_actors() -> Vec<String> {
    let actions = Action::ALL.map(|action| format!("act-{action}"));
    let others = ["act-ann", "act-bob", "act-eve"].map(str::to_owned);
    actions.into_iter().chain(others).collect()
}

impl World {
    /// Applies the shop with one bundle for it.
    async fn apply_policy(&self, bundle: &str) {
        let cluster = cluster(SHOP);
        self.apply_files(&[
            ("cluster.yaml", &cluster),
            ("shop.pg", SCHEMA),
            ("queries/q.gq", QUERIES),
            ("shop.yaml", bundle),
        ])
        .await;
    }

    fn served(&self, credentials: Credentials) -> Options {
        Options {
            engine: Some(self.engine.clone()),
            boot: Boot::Wait,
            maintenance: None,
            ..Options::served(Access::Credentials(credentials))
        }
    }

    /// A replica to which every actor of the tests has a token.
    async fn guarded(&self) -> Replica {
        let options = self.served(credentials(all_actors()));
        let replica = Replica::start(options).await.expect("a replica");
        assert!(replica.takes_up(1, LONG).await);
        replica
    }

    /// Items in the shop, put there by who holds the storage.
    async fn stock(&self) {
        let actor = omnigraph_policy::Actor::declared("act-change").expect("an actor");
        let options = Options::embedded(self.engine.clone(), actor);
        let replica = Replica::start(options).await.expect("a replica");
        super::ok(&replica, "POST", "/graphs/shop/load/ndjson", ITEMS).await;
        assert!(replica.stop(LONG).await);
    }
}

async fn by(replica: &Replica, actor: &str, method: &str, path: &str, body: &str) -> Got {
    let bearer = format!("Bearer t-{actor}");
    call_as(replica, method, path, &[("authorization", &bearer)], body).await
}

/// The text of a refusal.
fn refusal(got: &Got) -> String {
    assert_eq!(got.status, StatusCode::FORBIDDEN, "{}", got.body);
    got.json()["error"].as_str().unwrap_or_default().to_owned()
}
