//! Sets of completion indexes as a Job's status writes them: `0,2-5,9`.

use std::collections::BTreeSet;

/// The indexes below `completions` that `text` names; what cannot be read is left out.
pub(super) fn parse(text: &str, completions: u32) -> BTreeSet<u32> {
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
            all.extend((first..=last).take_while(|index| *index < completions));
        }
    }
    all
}

/// `indexes` as text; runs of three and more are shortened.
pub(super) fn text(indexes: &BTreeSet<u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => runs.push((*index, *index)),
        }
    }
    let part = |(first, last): (u32, u32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    runs.into_iter().map(part).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_and_read() {
        let check = |written: &str, expect: &[u32]| {
            let read = parse(written, 20);
            assert_eq!(read.iter().copied().collect::<Vec<_>>(), expect);
            assert_eq!(text(&read), written);
        };
        check("", &[]);
        check("0", &[0]);
        check("1,2", &[1, 2]);
        check("0,2-5,9", &[0, 2, 3, 4, 5, 9]);
        assert_eq!(text(&parse("3-4000000000,x,7-", 6)), "3-5");
    }
}
