//! Screens of recorded pictures.
//! In: snapshots, sizes. Out: what must be seen, and that it fits.

use super::*;

#[test]
fn each_picture_is_shown_whole() {
    for name in RECORDED {
        for size in [(80, 24), (160, 50)] {
            println!("== {name} {size:?}\n{}", screen(&state(recorded(name)), size, FULL));
        }
    }
    println!("{}", once::text(&state(recorded("failing")), 120, FULL));
}
