import json
import sys

import lief

lief.logging.disable()


def ask(path):
    fat = lief.MachO.parse(path)  # has to stay: its binaries go with it
    binary = fat.at(0) if fat else None
    if binary is None:
        return {"Faults": ["it cannot be read"]}
    faults = []
    ok, why = lief.MachO.check_layout(binary)
    if not ok:
        faults.append("layout: " + " ".join(why.split()))
    if not binary.has_code_signature:
        faults.append("there is no signature")
    else:
        linkedit = binary.get_segment("__LINKEDIT")
        signature = binary.code_signature
        if signature.data_offset + signature.data_size != linkedit.file_offset + linkedit.file_size:
            faults.append("the signature is not the end of __LINKEDIT")
        if signature.data_offset % 16:
            faults.append("the signature is not aligned")
    fixups = []
    for b in binary.bindings:
        symbol = b.symbol.name if b.has_symbol else ""
        library = b.library.name if b.has_library else ""
        fixups.append("%#x %s of %s" % (b.address, symbol, library))
    return {"Faults": faults or None, "Fixups": sorted(fixups)}


for line in sys.stdin:
    print(json.dumps(ask(line.rstrip("\n"))), flush=True)
