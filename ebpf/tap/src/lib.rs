//! A TAP device that stays, and that its owner opens without a privilege.

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{IntegerSetter, Opcode, ioctl, opcode};
use tun_rs::{DeviceBuilder, Layer};

/// `TUNSETOWNER`, `TUNSETPERSIST` (`linux/if_tun.h`). Their argument is the number itself.
const SET_OWNER: Opcode = opcode::write::<i32>(b'T', 204);
const SET_PERSIST: Opcode = opcode::write::<i32>(b'T', 203);

/// Makes a TAP device. It belongs to our effective user: nobody else can open it without `CAP_NET_ADMIN`, which without an owner
/// everybody could. It is down, and nobody has it open.
///
/// # Errors
/// What the kernel says; then there is no device. `EBUSY` if somebody has one of that name open.
pub fn make(name: &str) -> io::Result<()> {
    let device = DeviceBuilder::default()
        .name(name)
        .layer(Layer::L2)
        .build_sync()?;
    let owner = usize::try_from(rustix::process::geteuid().as_raw()).map_err(io::Error::other)?;
    set::<SET_OWNER>(&device, owner)?;
    set::<SET_PERSIST>(&device, 1)
}

fn set<const OPCODE: Opcode>(device: &impl AsFd, value: usize) -> io::Result<()> {
    #[expect(
        unsafe_code,
        reason = "no crate sets a TAP device's owner by value, as the kernel reads it"
    )]
    // SAFETY: both opcodes take an integer and touch no memory of ours (drivers/net/tun.c, `__tun_chr_ioctl`).
    unsafe {
        ioctl(device, IntegerSetter::<OPCODE>::new_usize(value))?;
    }
    Ok(())
}
