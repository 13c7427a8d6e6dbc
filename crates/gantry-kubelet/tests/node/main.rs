//! The kubelet with a real API server, a real runtime and real containers. Needs root, the busybox image
//! that `xtask images` builds, and what `hack/packages.sh` fetches.

mod api;
mod confinement;
mod conformance;
mod inputs;
mod kubectl;
mod pods;
mod probes;
mod support;
