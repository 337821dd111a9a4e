// The same package from CommonJS.
import vpnkit = require("vpnkit");

export const kit: Promise<vpnkit.Kit> = vpnkit.open({ store: "memory:" });
