//! The handlers, one file per subject.

mod backup;
mod blob;
mod branches;
mod changes;
mod cleanup;
mod explain;
mod export;
mod fsck;
mod graphs;
mod health;
mod history;
mod load;
mod maintenance;
mod mutate;
mod query;
mod revert;
mod schema;
mod stored;
mod tags;

use axum::Router;
use axum::routing::{get, post};

use crate::app::AppState;

/// Every route of the public surface.
pub(crate) fn all() -> Router<AppState> {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/graphs", get(graphs::list))
        .nest("/graphs/{graph_id}", graph())
        .route("/graphs/{graph_id}", get(graphs::get))
}

fn graph() -> Router<AppState> {
    // GET and DELETE of `/branches/merge` reach a branch of that name.
    let merge = post(branches::merge)
        .get(branches::get_merge)
        .delete(branches::delete_merge);
    Router::new()
        .route("/query", post(query::query))
        .route("/explain", post(explain::explain))
        .route("/mutate", post(mutate::mutate))
        .route("/mutate/if-graph-commit", post(mutate::mutate_if))
        .route("/queries", get(stored::list))
        .route("/queries/{name}", post(stored::invoke))
        .route("/queries/{name}/if-graph-commit", post(stored::invoke_if))
        .route("/load", post(load::load))
        .route("/load/ndjson", post(load::load_ndjson))
        .route("/load/arrow", post(load::load_arrow))
        .route("/load/parquet", post(load::load_parquet))
        .route("/export", post(export::export))
        .route("/blob", get(blob::get).head(blob::head))
        .route("/snapshot", get(history::snapshot))
        .route("/schema", get(schema::get))
        .route("/schema/apply", post(schema::apply))
        .route("/branches", get(branches::list).post(branches::create))
        .route("/branches/merge", merge)
        .route(
            "/branches/{branch}",
            get(branches::get).delete(branches::delete),
        )
        .route("/branches/{branch}/revert", post(revert::revert))
        .route("/commits", get(history::commits))
        .route("/commits/{id}", get(history::commit))
        .route("/commits/{id}/changes", get(changes::commit))
        .route("/changes", get(changes::poll))
        .route("/changes/baseline", post(changes::baseline))
        .route("/diff", get(changes::diff))
        .route("/tags", get(tags::list).post(tags::create))
        .route("/tags/{tag}", get(tags::get).delete(tags::delete))
        .route("/maintenance/optimize", post(maintenance::optimize))
        .route("/maintenance/fsck", post(fsck::fsck))
        .route("/maintenance/cleanup", post(cleanup::cleanup))
        .route("/maintenance/backup", post(backup::backup))
}
