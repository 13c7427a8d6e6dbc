//! The order of the queue, back-off and what brings pods back.

use super::*;
use crate::plugins::Plugin;

fn pod(name: &str, priority: i32) -> Arc<PodInfo> {
    let shape = Arc::new(Shape { priority, ..Shape::default() });
    Arc::new(PodInfo { name: name.into(), uid: name.into(), shape, ..PodInfo::default() })
}

fn rejected() -> PluginSet {
    PluginSet::default().with(Plugin::NodeResourcesFit)
}

fn order(queue: &mut Queue) -> Vec<String> {
    std::iter::from_fn(|| queue.pop(Instant::now()).map(|pod| pod.name.to_string())).collect()
}

#[tokio::test(start_paused = true)]
async fn higher_priority_then_first_come_goes_first() {
    let mut queue = Queue::default();
    for (name, priority) in [("old", 0), ("new", 0), ("vip", 5)] {
        queue.put(pod(name, priority), Instant::now());
    }
    assert_eq!(order(&mut queue), ["vip", "old", "new"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_fit_waits_for_help_and_its_backoff() {
    let mut queue = Queue::default();
    queue.put(pod("p", 0), Instant::now());
    for wait in [1, 2, 4, 8, 10, 10] {
        assert!(queue.pop(Instant::now()).is_some());
        queue.failed("p", rejected(), Instant::now());
        queue.moved(Instant::now(), |_, _| false);
        assert!(queue.pop(Instant::now()).is_none(), "nothing helped");
        queue.moved(Instant::now(), |_, rejectors| rejectors.has(Plugin::NodeResourcesFit));
        let until = Instant::now() + Duration::from_secs(wait);
        assert_eq!(queue.wake(Instant::now()), Some(until));
        tokio::time::advance(Duration::from_secs(wait)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn backing_off_pods_try_early_when_nobody_else_does_but_erring_ones_do_not() {
    let mut queue = Queue::default();
    queue.put(pod("p", 0), Instant::now());
    queue.pop(Instant::now()).expect("ready");
    queue.failed("p", rejected(), Instant::now());
    queue.moved(Instant::now(), |_, _| true);
    assert_eq!(order(&mut queue), ["p"]);
    queue.put_back(pod("p", 0), 2, Instant::now());
    assert!(queue.pop(Instant::now()).is_none());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(order(&mut queue), ["p"]);
}

#[tokio::test(start_paused = true)]
async fn stuck_pods_come_back_after_five_minutes() {
    let mut queue = Queue::default();
    queue.put(pod("p", 0), Instant::now());
    queue.pop(Instant::now()).expect("ready");
    queue.failed("p", rejected(), Instant::now());
    assert_eq!(queue.wake(Instant::now()), Some(Instant::now() + LONGEST_STUCK));
    tokio::time::advance(LONGEST_STUCK).await;
    assert_eq!(order(&mut queue), ["p"]);
}

#[tokio::test(start_paused = true)]
async fn only_updates_of_the_shape_let_a_pod_try_again() {
    let mut queue = Queue::default();
    let first = pod("p", 0);
    queue.put(first.clone(), Instant::now());
    queue.pop(Instant::now()).expect("ready");
    queue.failed("p", rejected(), Instant::now());
    tokio::time::advance(Duration::from_secs(20)).await;
    queue.put(Arc::new(PodInfo { generation: 2, ..PodInfo::clone(&first) }), Instant::now());
    assert!(queue.pop(Instant::now()).is_none());
    queue.put(pod("p", 1), Instant::now());
    assert_eq!(order(&mut queue), ["p"]);
}

#[tokio::test(start_paused = true)]
async fn gated_pods_wait_for_their_gates() {
    let mut queue = Queue::default();
    let open = pod("p", 0);
    queue.put(Arc::new(PodInfo { gated: true, ..PodInfo::clone(&open) }), Instant::now());
    assert!(queue.pop(Instant::now()).is_none());
    queue.put(open, Instant::now());
    assert_eq!(order(&mut queue), ["p"]);
}

#[tokio::test(start_paused = true)]
async fn removed_pods_do_not_come_back() {
    let mut queue = Queue::default();
    queue.put(pod("p", 0), Instant::now());
    queue.pop(Instant::now()).expect("ready");
    queue.failed("p", rejected(), Instant::now());
    queue.remove("p");
    queue.moved(Instant::now(), |_, _| true);
    assert!(queue.pop(Instant::now()).is_none());
    assert_eq!(queue.wake(Instant::now()), None);
}
