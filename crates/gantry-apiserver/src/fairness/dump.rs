//! What fairness is doing, as tables for people: the levels, their queues, and the requests that wait.

use super::seats::{Count, Waiting};

/// Lays rows out in columns, each as wide as its widest cell.
fn table(rows: Vec<Vec<String>>) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        for (at, cell) in row.iter().enumerate() {
            match widths.get_mut(at) {
                Some(width) => *width = (*width).max(cell.len() + 2),
                None => widths.push((cell.len() + 2).max(8)),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        let last = row.len().saturating_sub(1);
        for (at, cell) in row.into_iter().enumerate() {
            match at == last {
                true => text += &cell,
                false => text += &format!("{:<width$}", format!("{cell},"), width = widths[at]),
            }
        }
        text.push('\n');
    }
    text
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

/// The levels. `exempt` are those without limits.
pub(super) fn levels(counts: &[Count], exempt: &[String]) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for count in counts {
        let active = count.pending.iter().filter(|pending| **pending > 0).count();
        let idle = count.executing == 0 && count.waiting == 0;
        rows.push(vec![
            count.level.clone(),
            active.to_string(),
            idle.to_string(),
            count.quiescing.to_string(),
            count.waiting.to_string(),
            count.executing.to_string(),
            count.dispatched.to_string(),
            count.rejected.to_string(),
            count.timed_out.to_string(),
            "0".to_owned(),
        ]);
    }
    for level in exempt {
        let mut cells = vec![level.clone()];
        cells.resize(10, "<none>".to_owned());
        rows.push(cells);
    }
    rows.sort();
    let head = row([
        "PriorityLevelName",
        "ActiveQueues",
        "IsIdle",
        "IsQuiescing",
        "WaitingRequests",
        "ExecutingRequests",
        "DispatchedRequests",
        "RejectedRequests",
        "TimedoutRequests",
        "CancelledRequests",
    ]);
    rows.insert(0, head);
    table(rows)
}

/// The queues of every level. Requests that are carried out have left theirs.
pub(super) fn queues(counts: &[Count]) -> String {
    let mut counts: Vec<&Count> = counts.iter().collect();
    counts.sort_by(|a, b| a.level.cmp(&b.level));
    let mut rows = vec![row([
        "PriorityLevelName",
        "Index",
        "PendingRequests",
        "ExecutingRequests",
        "SeatsInUse",
        "NextDispatchR",
        "InitialSeatsSum",
        "MaxSeatsSum",
        "TotalWorkSum",
    ])];
    for count in counts {
        for (index, pending) in count.pending.iter().enumerate() {
            let pending = pending.to_string();
            let nothing = "0.00000000ss";
            rows.push(row([
                &count.level,
                &index.to_string(),
                &pending,
                "0",
                "0",
                nothing,
                &pending,
                &pending,
                &format!("{pending}.00000000ss"),
            ]));
        }
    }
    table(rows)
}

/// The requests that wait, with what they ask for where that is wanted.
pub(super) fn requests(waiting: &[Waiting], details: bool) -> String {
    let mut head = row([
        "PriorityLevelName",
        "FlowSchemaName",
        "QueueIndex",
        "RequestIndexInQueue",
        "FlowDistingsher",
        "ArriveTime",
        "InitialSeats",
        "FinalSeats",
        "AdditionalLatency",
        "StartTime",
    ]);
    if details {
        head.extend(row([
            "UserName",
            "Verb",
            "APIPath",
            "Namespace",
            "Name",
            "APIVersion",
            "Resource",
            "SubResource",
        ]));
    }
    let mut rows = vec![head];
    for waiting in waiting {
        let asked = &waiting.asked;
        let mut cells = row([
            &waiting.level,
            &asked.schema,
            &waiting.queue.to_string(),
            &waiting.index.to_string(),
            &asked.distinguisher,
            &asked.arrived.to_string(),
            "1",
            "0",
            "0s",
            "0001-01-01T00:00:00Z",
        ]);
        if details {
            let of = &asked.attributes;
            cells.extend(row([
                &of.user.name,
                &of.verb,
                &of.path,
                &of.namespace,
                &of.name,
                &of.version,
                &of.resource,
                &of.subresource,
            ]));
        }
        rows.push(cells);
    }
    table(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let count = Count {
            level: "catch-all".into(),
            dispatched: 12,
            executing: 1,
            pending: vec![0, 2],
            waiting: 2,
            ..Count::default()
        };
        let text = levels(std::slice::from_ref(&count), &["exempt".to_owned()]);
        let mut lines = text.lines();
        assert!(
            lines.next().unwrap().starts_with("PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, Wait")
        );
        assert!(
            lines.next().unwrap().starts_with("catch-all,         1,            false,  false,       2,")
        );
        assert!(lines.next().unwrap().starts_with("exempt,            <none>,       <none>, <none>,"));
        assert_eq!(queues(&[count]).lines().count(), 3);
    }
}
