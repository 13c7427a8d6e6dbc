//! Empties namespaces that are being deleted and then lets them go.
//!
//! Flow: a namespace gets a deletion time; everything that discovery lists in it is deleted, pods first;
//! its conditions say what is left; when nothing is, the finalizer `kubernetes` is taken off
//! through the subresource `finalize`. Guarantees: nothing is finalized while anything is left or
//! discovery is incomplete. Running again continues where it stood.

mod conditions;
mod content;

use std::time::Duration;

use gantry_client::{Change, Failure, Informer, ObjectKey, PodView, WorkQueue, run_workers};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;

use crate::resources::discover;
use crate::{Context, answer};
use conditions::apply;
use content::{Round, delete_all};

/// The finalizer of every namespace.
const FINALIZER: &str = "kubernetes";
/// Namespaces emptied at the same time.
const WORKERS: usize = 10;

/// Why a namespace was not emptied.
#[derive(Debug, thiserror::Error)]
#[error("namespace {namespace} cannot be emptied: {why}")]
struct NotEmptied {
    namespace: String,
    why: String,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let namespaces: Informer<Namespace> = context.informers.get();
    let pods: Informer<PodView> = context.informers.get();
    namespaces.synced().await;
    let queue = WorkQueue::new();
    let leaves = |namespace: &Namespace| namespace.metadata.deletion_timestamp.is_some();
    let of_namespaces = namespaces.changes().each(|change| {
        if let Change::Applied { new, .. } = change
            && leaves(&new)
        {
            queue.add(ObjectKey::of(&new.metadata).name);
        }
    });
    let of_pods = pods.changes().each(|change| {
        if let Change::Deleted(pod) = change {
            // The last of them may be what the namespace waits for.
            let name = pod.metadata.namespace.clone().unwrap_or_default();
            if namespaces.get(&ObjectKey::new("", &*name)).is_some_and(|namespace| leaves(&namespace)) {
                queue.add(name);
            }
        }
    });
    let reconcile = async |name| reconcile(&context, name).await;
    let work = run_workers("namespace", queue.clone(), WORKERS, reconcile, context.shutdown.clone());
    tokio::join!(of_namespaces, of_pods, work);
}

async fn reconcile(context: &Context, name: String) -> Result<Option<Duration>, Failure> {
    let api = Api::<Namespace>::all(context.client.clone());
    let Some(mut namespace) = api.get_opt(&name).await? else { return Ok(None) };
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
    if namespace.metadata.deletion_timestamp.is_none() || finalizers.is_empty() {
        return Ok(None);
    }
    let found = discover(&context.client).await?;
    let Round { findings, estimate } = delete_all(&context.client, &name, &found).await;
    let status = namespace.status.get_or_insert_default();
    let terminating = Some("Terminating".to_owned());
    let mut changed = status.phase != terminating;
    status.phase = terminating;
    changed |= apply(status.conditions.get_or_insert_default(), &findings, Timestamp::now());
    let emptied = findings == Default::default();
    // A namespace that was empty from the start has nothing to tell.
    if changed && !emptied {
        namespace = api.replace_status(&name, &PostParams::default(), &namespace).await?;
    }
    let mut why = findings.errors.clone();
    why.extend(findings.undiscovered.iter().cloned());
    if !why.is_empty() {
        return Err(NotEmptied { namespace: name, why: why.join(", ") }.into());
    }
    if !emptied {
        // What is left goes by itself within the estimate, mostly earlier; half of it is soon enough.
        return Ok(Some(Duration::from_secs(estimate.unsigned_abs() / 2 + 1)));
    }
    let spec = namespace.spec.get_or_insert_default();
    spec.finalizers.get_or_insert_default().retain(|each| each != FINALIZER);
    match api.replace_subresource("finalize", &name, &PostParams::default(), &namespace).await {
        Err(error) if answer::code(&error) != 404 => Err(error.into()),
        _ => Ok(None),
    }
}
