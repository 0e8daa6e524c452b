//! Pseudo-terminals. Child-safe.

use nix::errno::Errno;

use super::{RawFd, check_fd, check_unit};

/// Unlocks the slave of a fresh master (`TIOCSPTLCK`).
pub fn unlock(master: RawFd) -> Result<(), Errno> {
    let unlock: libc::c_int = 0;
    // SAFETY: the request reads one int.
    check_unit(unsafe {
        libc::syscall(libc::SYS_ioctl, master, libc::TIOCSPTLCK, &raw const unlock)
    })
}

/// The number N of `/dev/pts/N` (`TIOCGPTN`).
pub fn number(master: RawFd) -> Result<u32, Errno> {
    let mut number: libc::c_uint = 0;
    // SAFETY: the request writes one unsigned int.
    check_unit(unsafe { libc::syscall(libc::SYS_ioctl, master, libc::TIOCGPTN, &raw mut number) })?;
    Ok(number)
}

/// Opens the slave without a path (`TIOCGPTPEER`): nobody can put another file in between.
pub fn open_peer(master: RawFd) -> Result<RawFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: integers only.
    check_fd(unsafe { libc::syscall(libc::SYS_ioctl, master, libc::TIOCGPTPEER, flags) })
}

/// Makes the terminal the controlling one of this session (`TIOCSCTTY`).
pub fn make_controlling(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: integers only.
    check_unit(unsafe { libc::syscall(libc::SYS_ioctl, fd, libc::TIOCSCTTY, 0) })
}

/// Sets rows and columns (`TIOCSWINSZ`).
pub fn set_size(fd: RawFd, rows: u16, columns: u16) -> Result<(), Errno> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads one struct winsize.
    check_unit(unsafe { libc::syscall(libc::SYS_ioctl, fd, libc::TIOCSWINSZ, &raw const size) })
}

/// Rows and columns (`TIOCGWINSZ`); `ENOTTY` when `fd` is no terminal.
pub fn size(fd: RawFd) -> Result<(u16, u16), Errno> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request writes one struct winsize.
    check_unit(unsafe { libc::syscall(libc::SYS_ioctl, fd, libc::TIOCGWINSZ, &raw mut size) })?;
    Ok((size.ws_row, size.ws_col))
}
