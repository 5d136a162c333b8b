//! Tells that devices or addresses have changed.

use std::io;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const GROUP_LINK: u32 = 0x1;
const GROUP_IPV4_ADDRESS: u32 = 0x10;
const GROUP_IPV6_ADDRESS: u32 = 0x100;

/// The kernel's notices about the network namespace in which it was made.
#[derive(Debug)]
pub struct Watch {
    socket: AsyncFd<Socket>,
    /// Notices were taken that have not been answered for.
    pending: bool,
}

impl Watch {
    /// Starts to listen; must be called inside a tokio runtime.
    pub fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, GROUP_LINK | GROUP_IPV4_ADDRESS | GROUP_IPV6_ADDRESS))?;
        socket.set_non_blocking(true)?;
        #[expect(
            deprecated,
            reason = "the new form asks for a promise that this type keeps: one descriptor for life"
        )]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self { socket, pending: false })
    }

    /// Waits until something has changed since the last answer; what, [`super::list`] tells.
    ///
    /// Safe to cancel. Notices that the kernel had to discard count as a change.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable_mut().await?;
            match ready.try_io(|socket| socket.get_ref().recv_from_full()) {
                Ok(Ok(_notice)) => self.pending = true,
                Ok(Err(error)) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => self.pending = true,
                Ok(Err(error)) => return Err(error),
                Err(_nothing_left) if self.pending => {
                    self.pending = false;
                    return Ok(());
                }
                Err(_nothing_left) => {}
            }
        }
    }
}
