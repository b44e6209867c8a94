//! README.fr.md says what README.md says: the same chapters, commands, tables and pictures, in the same order.
#![allow(clippy::unwrap_used)]

use std::fs;

/// What both must have alike, each with the number of its line.
fn skeleton(file: &str) -> Vec<(usize, String)> {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        let item = if line.starts_with("```") {
            in_code = !in_code;
            line.to_owned()
        } else if in_code {
            // Comments are translated.
            let code = if line.starts_with('#') { "" } else { line.split(" #").next().unwrap_or_default() };
            code.trim_end().to_owned()
        } else if line.starts_with('#') {
            line.chars().take_while(|c| *c == '#').collect()
        } else if line.starts_with('|') {
            format!("a row of {} cells", line.replace("\\|", "").matches('|').count() - 1)
        } else if let Some((_, picture)) = line.split_once("](docs/page/") {
            picture.split(')').next().unwrap_or_default().to_owned()
        } else if line.starts_with("- ") {
            "an item of a list".to_owned()
        } else {
            continue;
        };
        found.push((number, item));
    }
    found
}

#[test]
fn the_french_readme_has_all_that_the_english_one_has() {
    let (english, french) = (skeleton("README.md"), skeleton("README.fr.md"));
    for ((line, item), (ligne, le_meme)) in english.iter().zip(&french) {
        assert_eq!(item, le_meme, "README.md:{line} and README.fr.md:{ligne}");
    }
    assert_eq!(english.len(), french.len(), "one of them goes on after the other's end");
    assert!(english.len() > 100, "{}", english.len());
}

#[test]
fn each_readme_leads_to_the_other() {
    for (file, other) in [("README.md", "(README.fr.md)"), ("README.fr.md", "(README.md)")] {
        let text = fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let top: String = text.lines().take(5).collect();
        assert!(top.contains(other), "{file} begins without a link to {other}");
    }
}
