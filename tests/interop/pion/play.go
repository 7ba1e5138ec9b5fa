package main

import (
	"errors"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc"
	"github.com/pion/webrtc/pkg/media"
	"github.com/pion/webrtc/pkg/media/h264writer"
	"github.com/pion/webrtc/pkg/media/oggwriter"
)

// play keeps every picture, and every packet of sound, that comes until there are enough of both.
func (one *peer) play() (func() (map[string]interface{}, error), error) {
	pictures, err := h264writer.New(one.Video)
	if err != nil {
		return nil, err
	}
	kinds := map[webrtc.RTPCodecType]media.Writer{webrtc.RTPCodecTypeVideo: pictures}
	if one.Sound != "" {
		sound, err := oggwriter.New(one.Sound, 48000, 2)
		if err != nil {
			return nil, err
		}
		kinds[webrtc.RTPCodecTypeAudio] = sound
	}
	for kind := range kinds {
		_, err := one.connection.AddTransceiverFromKind(kind,
			webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		if err != nil {
			return nil, err
		}
	}
	kept := make(chan error, len(kinds))
	one.connection.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if track.Kind() == webrtc.RTPCodecTypeVideo {
			kept <- keep(track, kinds[track.Kind()], one.Frames, ends)
		} else {
			kept <- keep(track, kinds[track.Kind()], one.Packets, always)
		}
	})
	return func() (map[string]interface{}, error) {
		deadline := time.After(patience)
		for range kinds {
			select {
			case err := <-kept:
				if err != nil {
					return nil, err
				}
			case <-deadline:
				return nil, errors.New("not enough came")
			}
		}
		return map[string]interface{}{"frames": one.Frames, "packets": one.Packets}, nil
	}, nil
}

// The last packet of a picture has the marker.
func ends(packet *rtp.Packet) bool { return packet.Marker }

func always(*rtp.Packet) bool { return true }

// keep writes down what comes until so many things have ended.
func keep(track *webrtc.TrackRemote, into media.Writer, count int, end func(*rtp.Packet) bool) error {
	for count > 0 {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return err
		}
		if err := into.WriteRTP(packet); err != nil {
			return err
		}
		if end(packet) {
			count--
		}
	}
	return into.Close()
}
