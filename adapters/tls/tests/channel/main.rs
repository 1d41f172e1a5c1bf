//! Channels in memory: good ones under every cutting, and every sort of peer
//! that is to be refused.

mod bent;
mod cuts;
mod floods;
mod openssl;
mod peers;
mod records;
mod support;
