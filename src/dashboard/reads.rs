//! What is given to a page: the whole picture, its changes as they come, pictures of work; those of results are in [`pictures`].
//! In: requests that the guard has let through. Out: JSON, an event stream, images.

use super::assets::takes_gzip;
use super::frame::{Frame, GZIP_HEAD};
use super::guard::refusal;
use super::live::Live;
use super::named::Named;
use super::pictures::{self, NO_PICTURE};
use super::view::jobs::PICTURES;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

type Asked = State<Arc<Live>>;

/// Seconds after which a viewer who found no place may come again.
const COME_AGAIN: &str = "10";

/// The routes.
pub(super) fn routes() -> Router<Arc<Live>> {
    Router::new()
        .route("/api/snapshot", get(snapshot))
        .route("/api/stream", get(stream))
        .route("/api/preview/{worker}", get(preview))
        .route("/api/outputs/{job}/{end}/{n}", get(pictures::whole))
        .route("/api/outputs/{job}/{end}/{n}/small", get(pictures::small))
}

async fn snapshot(State(live): Asked, headers: HeaderMap) -> Response {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    let is_known = |tag: &str| known.flat_map(|tags| tags.split(',')).any(|known| known.trim() == tag);
    let packed = takes_gzip(&headers);
    let (tag, bytes) = live.snapshot(packed, is_known);
    let about = [(header::CONTENT_TYPE, "application/json"), (header::VARY, "accept-encoding")];
    let mut response = match bytes {
        None => StatusCode::NOT_MODIFIED.into_response(),
        Some(bytes) if packed => (about, [(header::CONTENT_ENCODING, "gzip")], bytes).into_response(),
        Some(bytes) => (about, bytes).into_response(),
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

struct Viewer {
    live: Arc<Live>,
    seat: Option<broadcast::Receiver<Arc<Frame>>>,
    packed: bool,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

async fn stream(State(live): Asked, headers: HeaderMap) -> Response {
    let Some(place) = live.enter() else {
        let why = "too many look at this agent already; ask /api/snapshot now and then";
        let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, why).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(COME_AGAIN));
        return response;
    };
    let packed = takes_gzip(&headers);
    let viewer = Viewer { stop: live.stop(), live, seat: None, packed, _place: place };
    let frames = futures_util::stream::unfold(viewer, |mut viewer| async {
        let is_first = viewer.seat.is_none();
        let frame = next(&mut viewer).await?.bytes(viewer.packed);
        let bytes = if is_first && viewer.packed { [GZIP_HEAD, &frame].concat().into() } else { frame };
        Some((Ok::<_, std::convert::Infallible>(bytes), viewer))
    });
    let about = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::VARY, "accept-encoding"),
        // To nginx in between: pass on what comes, at once.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let mut response = (about, Body::from_stream(frames)).into_response();
    if packed {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

async fn next(viewer: &mut Viewer) -> Option<Arc<Frame>> {
    if let Some(frames) = &mut viewer.seat {
        tokio::select! {
            () = viewer.stop.cancelled() => return None,
            frame = frames.recv() => match frame {
                Ok(frame) => return Some(frame),
                // Too slow: what was missed is in a fresh snapshot.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
    let seat = viewer.live.join();
    let snapshot = seat.snapshot;
    viewer.seat = Some(seat.frames);
    Some(snapshot)
}

async fn preview(State(live): Asked, Named(worker): Named<String>) -> Response {
    match live.source().picture(&worker).filter(|picture| PICTURES.contains(&picture.media_type)) {
        Some(picture) => ([(header::CONTENT_TYPE, picture.media_type)], picture.bytes).into_response(),
        // Its job ended between the event that named the picture and this request: nobody's fault, and no error in a log.
        None if live.source().slots().iter().any(|slot| slot.id == worker) => StatusCode::NO_CONTENT.into_response(),
        None => NO_PICTURE.into_response(),
    }
}
