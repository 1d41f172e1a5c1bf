//! What a client is told when it does not get what it asked for: a status
//! from the typed error, and the error's words and numbers as JSON.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use peerhold_tokio::ClientError;
use peerhold_tokio::peerhold_core::OpError;
use peerhold_tokio::peerhold_core::seal::NameError;
use serde_json::json;

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("that is no file's name: {0}")]
    Name(#[from] NameError),
    #[error("the upload broke off, and nothing was stored: {0}")]
    Upload(axum::Error),
    #[error("the file is not as the request says that it has to be; nothing was done")]
    Precondition,
    #[error("the range does not lie in a file of {size} bytes")]
    Range { size: u64 },
    #[error(transparent)]
    Node(#[from] ClientError),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Name(_) | Self::Upload(_) => StatusCode::BAD_REQUEST,
            Self::Precondition => StatusCode::PRECONDITION_FAILED,
            Self::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Node(ClientError::Op(error)) => status_of(error),
            // Busy, or on its way out: another time, or another node.
            Self::Node(
                ClientError::Busy { .. } | ClientError::ShuttingDown | ClientError::Closed,
            ) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Node(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The words, and the numbers where there are any.
    fn told(&self) -> serde_json::Value {
        let error = self.to_string();
        match self {
            Self::Node(ClientError::Op(OpError::Unavailable {
                copies,
                needed,
                unknown,
            })) => {
                json!({"error": error, "copies": copies, "needed": needed, "unknown": unknown})
            }
            Self::Node(ClientError::Op(OpError::Unconfirmed { answered, needed })) => {
                json!({"error": error, "answered": answered, "needed": needed})
            }
            Self::Range { size } => json!({"error": error, "size": size}),
            _ => json!({ "error": error }),
        }
    }
}

fn status_of(error: &OpError) -> StatusCode {
    match error {
        OpError::NotFound => StatusCode::NOT_FOUND,
        OpError::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        // Somebody has given the name the greatest version that there is.
        OpError::NoVersion(_) | OpError::NothingToRestore => StatusCode::CONFLICT,
        OpError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        OpError::OverQuota { .. } => StatusCode::INSUFFICIENT_STORAGE,
        // What it takes is away at the moment.
        OpError::Unavailable { .. }
        | OpError::Unconfirmed { .. }
        | OpError::Indebted { .. }
        | OpError::Older { .. }
        | OpError::Missing
        | OpError::Cancelled { .. } => StatusCode::SERVICE_UNAVAILABLE,
        // Damage, and the store's own trouble.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, axum::Json(self.told())).into_response();
        let headers = response.headers_mut();
        if let Self::Range { size } = self {
            let range = HeaderValue::from_str(&format!("bytes */{size}"));
            headers.extend(range.ok().map(|range| (header::CONTENT_RANGE, range)));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_copies_are_told_with_their_numbers() {
        let refusal = Refusal::from(ClientError::Op(OpError::Unavailable {
            copies: 1,
            needed: 2,
            unknown: false,
        }));
        let told = refusal.told();
        assert_eq!((&told["copies"], &told["needed"]), (&json!(1), &json!(2)));
        assert_eq!(told["unknown"], json!(false));
        let response = refusal.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
