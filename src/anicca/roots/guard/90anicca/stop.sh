#!/bin/sh
# There is no host to boot: says why, then tries again by rebooting (so that boot counting can choose an older
# generation), or does what anicca.stuck= on the kernel command line says: wait, shell.
set -u
# shellcheck source=common.sh
. "${0%/*}/common.sh"
exec < /dev/console > /dev/console 2>&1
echo
echo "anicca: THIS HOST CANNOT BOOT"
if [ -e "$ANICCA_RUN/failed" ]; then
    while read -r line; do
        echo "anicca: $line"
    done < "$ANICCA_RUN/failed"
else
    echo "anicca: a unit of the initrd failed; the kernel's log above says which"
fi
parameter anicca.stuck
case ${value:-reboot} in
    shell) exec sh ;;
    wait) exec sleep infinity ;;
esac
echo "anicca: the next try is in 60 seconds (anicca.stuck=wait or =shell on the kernel command line to stay here)"
sleep 60
systemctl --force reboot
