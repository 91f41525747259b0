//! Finds the paths in a source text and follows them to where they lead.
//! In: tokens and the module they stand in. Out: each path with its line; one of ours starts at `crate`.

use super::lex::Token;

/// Every path in `tokens` that starts at `crate`, `super`, `self` or a crate of the workspace, resolved from the module
/// `home`; each leaf of a `use` tree is one.
pub(super) fn paths(tokens: &[(usize, Token)], home: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut module = home.to_vec();
    let mut depth = 0_usize;
    let mut inline_modules = Vec::new();
    let mut at = 0;
    while let Some((_, token)) = tokens.get(at) {
        match token {
            Token::Word(word) if word == "use" => {
                at = use_tree(tokens, at + 1, &[], &module, &mut found);
                continue;
            }
            Token::Word(word) if word == "mod" => {
                if let (Some((_, Token::Word(name))), Some((_, Token::Sign('{')))) =
                    (tokens.get(at + 1), tokens.get(at + 2))
                {
                    module.push(name.clone());
                    inline_modules.push(depth);
                }
            }
            Token::Sign('{') => depth += 1,
            Token::Sign('}') => {
                depth = depth.saturating_sub(1);
                if inline_modules.last() == Some(&depth) {
                    inline_modules.pop();
                    module.pop();
                }
            }
            Token::Word(_) if tokens.get(at + 1).is_some_and(|(_, next)| *next == Token::PathSeparator) => {
                let (line, _) = tokens[at];
                let mut path = Vec::new();
                while let Some((_, Token::Word(word))) = tokens.get(at) {
                    path.push(word.clone());
                    at += 1;
                    if tokens.get(at).is_some_and(|(_, next)| *next == Token::PathSeparator) {
                        at += 1;
                    } else {
                        break;
                    }
                }
                found.push((line, resolve(&path, &module)));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads one `use` tree from `at` on and pushes its leaves; answers where it ends.
fn use_tree(
    tokens: &[(usize, Token)],
    mut at: usize,
    prefix: &[String],
    module: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut path = prefix.to_vec();
    let mut line = 0;
    while let Some((here, token)) = tokens.get(at) {
        match token {
            Token::Word(word) if word == "as" => at += 1,
            Token::Word(word) => {
                path.push(word.clone());
                line = *here;
            }
            Token::Sign('*') => {
                path.push("*".to_owned());
                line = *here;
            }
            Token::PathSeparator => {}
            Token::Sign('{') => {
                at += 1;
                while tokens.get(at).is_some_and(|(_, token)| *token != Token::Sign('}')) {
                    at = use_tree(tokens, at, &path, module, found);
                    if tokens.get(at).is_some_and(|(_, token)| *token == Token::Sign(',')) {
                        at += 1;
                    }
                }
                return at + 1;
            }
            _ => break,
        }
        at += 1;
    }
    if line > 0 {
        found.push((line, resolve(&path, module)));
    }
    at
}

/// Follows `self` and `super` from `module`, so that every path of ours starts at `crate`.
fn resolve(path: &[String], module: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let mut relative = false;
    let mut rest = path;
    while let Some((first, others)) = rest.split_first() {
        match first.as_str() {
            "super" => {
                base.pop();
            }
            "self" => {}
            _ => break,
        }
        relative = true;
        rest = others;
    }
    if !relative {
        // `use crate::{self}` and a group's `config::{self}` name what stands before.
        let keep = path.iter().rposition(|part| part != "self").map_or(0, |last| last + 1);
        return path[..keep].to_vec();
    }
    [vec!["crate".to_owned()], base, rest.to_vec()].concat()
}
