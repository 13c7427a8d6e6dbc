//! Prefers nodes that have the pod's images, the larger the better; an image that few nodes have
//! counts less, so that its pods do not crowd there.

use super::MAX_SCORE;
use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::shape::Shape;

/// Images smaller than this together are not worth a preference.
const LEAST: i64 = 23 << 20;
/// The size per container at which more does not count.
const MOST_PER_CONTAINER: i64 = 1000 << 20;

/// The score.
pub fn score(shape: &Shape, node: &NodeInfo, cluster: &Cluster) -> i32 {
    if node.facts.images.is_empty() || shape.images.is_empty() {
        return 0;
    }
    let there = shape.images.iter().filter_map(|image| Some((image, node.facts.images.get(&**image)?)));
    let spread = |image: &str| cluster.nodes_with(image) as f64 / cluster.known().max(1) as f64;
    let sum: i64 = there.map(|(image, size)| (*size as f64 * spread(image)) as i64).sum();
    let most = MOST_PER_CONTAINER * shape.images.len() as i64;
    (MAX_SCORE * (sum.clamp(LEAST, most) - LEAST) / (most - LEAST)) as i32
}
