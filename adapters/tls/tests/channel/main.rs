//! Channels in memory: good ones under every cutting, and every sort of peer
//! that is to be refused.

mod cuts;
mod floods;
mod openssl;
mod peers;
mod support;
