//! The blocks of the documents: what they show is what the tests run.

use std::path::Path;

/// The block of this language below this heading of `docs/DEPLOY.md`.
pub(crate) fn block(heading: &str, language: &str) -> String {
    block_of("docs/DEPLOY.md", heading, language)
}

/// The block of this language below this heading of a page.
pub(crate) fn block_of(page: &str, heading: &str, language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let page = std::fs::read_to_string(path).expect(page);
    let section = page
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading:?}"))
        .1;
    let section = section.split("\n## ").next().unwrap_or(section);
    let opening = format!("\n```{language}\n");
    let block = section
        .split_once(&opening)
        .unwrap_or_else(|| panic!("no block of {language} below {heading:?}"))
        .1;
    block
        .split_once("\n```")
        .expect("the end of the block")
        .0
        .to_owned()
        + "\n"
}

/// The block, with each of these texts, which must be there, in the place of another.
pub(crate) fn adapted(heading: &str, language: &str, changes: &[(&str, &str)]) -> String {
    changes
        .iter()
        .fold(block(heading, language), |block, (from, to)| {
            assert!(block.contains(from), "{from:?} is not in the block:\n{block}");
            block.replace(from, to)
        })
}
