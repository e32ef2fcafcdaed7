"""Which of root's powers the driver keeps, whatever its container was given."""

from csi_driver.host.kernel import Kernel

# capabilities(7): mounting; and what others own below the data root, which is removed like anything else there.
_CAP_DAC_OVERRIDE, _CAP_FOWNER, _CAP_SETPCAP, _CAP_SYS_ADMIN = 1, 3, 8, 21
NEEDED = 1 << _CAP_SYS_ADMIN | 1 << _CAP_DAC_OVERRIDE | 1 << _CAP_FOWNER

_HIGHEST = 63
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24


def give_up_others(kernel: Kernel | None = None) -> None:
    """This thread, threads that it starts later and all programs that it runs have no capability but those in `NEEDED`.

    Kubernetes lets only privileged containers make mounts that pods see, and container runtimes give those every
    capability, whatever the pod asks for. None is gained by this; without any, nothing is done. To be called before
    another thread is started, as capabilities are each thread's own.
    """
    kernel = kernel or Kernel()
    effective, permitted = kernel.capabilities()
    if effective >> _CAP_SETPCAP & 1:
        for number in range(_HIGHEST + 1):
            if not NEEDED >> number & 1 and kernel.prctl(_PR_CAPBSET_READ, number, unknown=0):
                kernel.prctl(_PR_CAPBSET_DROP, number)
    kernel.set_capabilities(effective & NEEDED, permitted & NEEDED)
