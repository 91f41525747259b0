//! Whether a GPU is of a wanted model, however the two are written.
//! In: a wanted model and the name that the driver tells. Out: yes or no.

/// The wanted words stand together, in this order, in the GPU's name; case, spaces and dashes do not count.
///
/// `RTX 4090` and `rtx4090` are an `NVIDIA GeForce RTX 4090`; `A10` is no `A100`, `L40` is no `L40S`, `H200` no `GH200`.
pub(super) fn is_model(wanted: &str, name: &str) -> bool {
    let (wanted, name) = (words(wanted), words(name));
    !wanted.is_empty() && name.windows(wanted.len()).any(|part| part == wanted)
}

/// Parts at anything that is no letter or digit, and where digits follow letters: what follows the digits (`90d`, `40s`)
/// tells one product from another and stays with them.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = None;
    for c in text.chars().flat_map(char::to_lowercase) {
        let starts = match before {
            None => true,
            Some(b) => c.is_ascii_digit() && char::is_alphabetic(b),
        };
        if !c.is_alphanumeric() {
            before = None;
            continue;
        }
        match words.last_mut() {
            Some(word) if !starts => word.push(c),
            _ => words.push(c.to_string()),
        }
        before = Some(c);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::is_model;

    #[test]
    fn models_as_people_write_them() {
        for (wanted, name, expected) in [
            ("RTX 4090", "NVIDIA GeForce RTX 4090", true),
            ("rtx4090", "NVIDIA GeForce RTX 4090", true),
            ("4090", "NVIDIA GeForce RTX 4090", true),
            ("NVIDIA GeForce RTX 4090", "RTX 4090", false),
            ("RTX 4090", "NVIDIA GeForce RTX 4090 D", true),
            ("RTX 4090", "NVIDIA GeForce RTX 4090D", false),
            ("RTX 4080", "NVIDIA GeForce RTX 4080 SUPER", true),
            ("A10", "NVIDIA A100-SXM4-80GB", false),
            ("A100", "NVIDIA A100-SXM4-80GB", true),
            ("a100 sxm4", "NVIDIA A100-SXM4-80GB", true),
            ("L40", "NVIDIA L40S", false),
            ("H200", "NVIDIA GH200 480GB", false),
            ("H100", "NVIDIA H100 80GB HBM3", true),
            ("H100", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", true),
            ("", "NVIDIA L4", false),
            ("-", "NVIDIA L4", false),
            ("L4", "", false),
        ] {
            assert_eq!(is_model(wanted, name), expected, "{wanted} on {name}");
        }
    }
}
