//! Tiles: what they look like, what they cost, and what is not made into one.

use super::*;
use std::io::Write;

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    file
}

/// Left half red, right half blue and half transparent.
fn halves(width: u32, height: u32) -> Vec<u8> {
    let pixel = |at: u32| if at % width < width / 2 { [255, 0, 0, 255] } else { [0, 0, 255, 128] };
    (0..width * height).flat_map(pixel).collect()
}

fn png_of(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut made = Vec::new();
    let mut encoder = png::Encoder::new(&mut made, width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    made
}

fn seen(tile: &Bytes) -> ((u32, u32), Vec<u8>) {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(tile.to_vec())).unwrap();
    let mut all = vec![0; decoder.output_buffer_size().unwrap()];
    decoder.read_image(&mut all).unwrap();
    (decoder.dimensions(), all)
}

#[test]
fn a_tile_is_small_and_shows_the_same() {
    let pixels = halves(400, 200);
    let mut webp = Vec::new();
    image_webp::WebPEncoder::new(&mut webp).encode(&pixels, 400, 200, image_webp::ColorType::Rgba8).unwrap();
    for (kind, bytes) in [("image/png", png_of(400, 200, &pixels)), ("image/webp", webp)] {
        let (size, small) = seen(&tile(kind, file(&bytes)).unwrap());
        assert_eq!(size, (192, 96), "{kind}");
        assert_eq!((&small[..4], &small[small.len() - 4..]), (&[255, 0, 0, 255][..], &[0, 0, 255, 128][..]), "{kind}");
    }
    // 16 x 16, grey, as a camera would write it: of the smallest JPEGs that there are.
    let (size, small) = seen(&tile("image/jpeg", file(include_bytes!("small_tests.jpg"))).unwrap());
    assert_eq!((size, small[3]), ((16, 16), 255));
    let grey = i32::from(small[0]);
    assert!((grey - 128).abs() < 8, "{small:?}");
}

#[test]
fn long_and_tiny_pictures_keep_a_side_of_one() {
    let size = |width, height| Shrink::new((width, height), PIXELS_MAX).map(|small| (small.width, small.height));
    assert_eq!(size(16_384, 1), Some((256, 1)));
    assert_eq!((size(1, 1), size(50, 40), size(960, 9600)), (Some((1, 1)), Some((50, 40)), Some((26, 256))));
    assert_eq!((size(0, 5), size(SIDE_MAX + 1, 5), size(10_000, 10_000)), (None, None, None));
}

#[test]
fn a_bomb_is_not_decoded_and_what_is_broken_is_no_picture() {
    let whole = png_of(400, 200, &halves(400, 200));
    let mut bomb = whole.clone();
    // The header's width and height, with its checksum.
    bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let mut sum = flate2::Crc::new();
    sum.update(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&sum.sum().to_be_bytes());
    let mut cut = whole.clone();
    cut.truncate(whole.len() / 2);
    for (what, bytes) in [("bomb", &bomb[..]), ("cut", &cut), ("nothing", &[]), ("text", b"hello")] {
        for kind in KINDS {
            assert!(tile(kind, file(bytes)).is_none(), "{what} as {kind}");
        }
    }
    assert!(tile("image/gif", file(&whole)).is_none());
}

#[test]
fn a_jpeg_that_would_take_too_much_memory_is_not_decoded() {
    let sized = |width: u16, height: u16| {
        let mut bytes = include_bytes!("small_tests.jpg").to_vec();
        let frame = bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
        bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
        tile("image/jpeg", file(&bytes)).map(|tile| seen(&tile).0)
    };
    // Its header alone tells: what is missing of its pixels is grey.
    assert_eq!((sized(800, 400), sized(5000, 5000)), (Some((192, 96)), None));
}

#[test]
fn every_cut_and_every_changed_byte_of_a_picture_is_survived() {
    let whole = png_of(24, 24, &halves(24, 24));
    let jpeg = include_bytes!("small_tests.jpg").to_vec();
    for (kind, whole) in [("image/png", whole), ("image/jpeg", jpeg)] {
        for at in 0..whole.len() {
            tile(kind, file(&whole[..at]));
            let mut changed = whole.clone();
            changed[at] ^= 0x5a;
            tile(kind, file(&changed));
        }
    }
}

#[tokio::test]
async fn a_tile_is_made_once_and_few_are_kept() {
    let tiles = Tiles::new();
    let bytes = png_of(400, 200, &halves(400, 200));
    let of = |number| Kept { number: (number, 0), length: 1, changed: None };
    let first = tiles.of(of(1), "image/png", file(&bytes)).await.unwrap();
    let again = tiles.of(of(1), "image/png", file(b"no picture any more")).await.unwrap();
    assert_eq!(first.as_ptr(), again.as_ptr());
    assert_eq!(tiles.of(of(2), "image/png", file(b"none")).await, None);
    assert_eq!(tiles.of(of(2), "image/png", file(&bytes)).await, None, "and is not tried over and over");
    for number in 3..1000 {
        tiles.keep(of(number), Some(first.clone()));
    }
    assert!(tiles.lock().len() <= KEPT);
    tiles.keep(of(1000), Some(vec![0; KEPT_BYTES].into()));
    assert_eq!(tiles.lock().len(), 1);
}

#[tokio::test]
async fn a_tile_is_kept_although_whoever_asked_for_it_has_gone() {
    let tiles = Tiles::new();
    let bytes = png_of(400, 200, &halves(400, 200));
    let of = Kept { number: (1, 0), length: 1, changed: None };
    let mut asked = Box::pin(tiles.of(of, "image/png", file(&bytes)));
    // Its work has begun, on another thread.
    let _ = futures_util::poll!(&mut asked);
    drop(asked);
    // The next one waits for its turn and needs no file any more.
    assert!(tiles.of(of, "image/png", file(b"no picture any more")).await.is_some());
}

#[test]
fn small_files_are_tiles_themselves_and_kinds_that_stay_large_have_none() {
    assert!(is_fine_as_it_is("image/png", FINE) && !is_fine_as_it_is("image/png", FINE + 1));
    assert!(is_fine_as_it_is("image/gif", FINE_OF_OTHERS) && !is_fine_as_it_is("image/gif", FINE_OF_OTHERS + 1));
    assert!(has_tile("image/jpeg", u64::MAX) && has_tile("image/avif", 5) && !has_tile("image/avif", u64::MAX));
}
