/** Cameras: which there are, opening one, and why one did not open. Used by page.js. */

/** What is asked for; a camera that has less gives what it has. */
const WANTED = {
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: 30, max: 30 },
};

/** Keys of `texts.notices`, by the names of getUserMedia's errors. */
const REASONS = {
  NotAllowedError: "cameraDenied",
  SecurityError: "cameraDenied",
  NotFoundError: "cameraNone",
  OverconstrainedError: "cameraNone",
  NotReadableError: "cameraUsed",
  AbortError: "cameraUsed",
};

/** Cameras are given to secure contexts alone (W3C Media Capture, section 10.2). */
export const available = () => globalThis.isSecureContext && Boolean(navigator.mediaDevices);

/** @param {string} deviceId  "" for the default camera */
export function open(deviceId) {
  const video = deviceId ? { ...WANTED, deviceId: { exact: deviceId } } : WANTED;
  return navigator.mediaDevices.getUserMedia({ video, audio: false });
}

/** @returns {Promise<{id: string, label: string}[]>} without names before permission */
export async function list() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const cameras = devices.filter(({ kind }) => kind === "videoinput");
  return cameras.map(({ deviceId, label }) => ({ id: deviceId, label }));
}

/** @returns {string} a key of `texts.notices` */
export const reason = (error) => REASONS[error?.name] ?? "cameraOther";

export function close(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
