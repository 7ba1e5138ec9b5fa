package main

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc"
	"github.com/pion/webrtc/pkg/media"
	"github.com/pion/webrtc/pkg/media/h264reader"
	"github.com/pion/webrtc/pkg/media/oggreader"
)

const opusPacket = 20 * time.Millisecond

// How often a PLI had the film go on at a keyframe.
var restarts atomic.Int32

// One picture: its NAL units in Annex B.
type picture struct {
	data     []byte
	keyframe bool
}

// publish plays the files from their beginnings, over and over, at their own pace.
func (one *peer) publish() (func() (map[string]interface{}, error), error) {
	pictures, err := film(one.Video)
	if err != nil {
		return nil, err
	}
	video, err := webrtc.NewTrackLocalStaticSample(
		webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264}, "video", "pion")
	if err != nil {
		return nil, err
	}
	lost := make(chan struct{}, 1)
	if err := one.send(video, func() {
		select {
		case lost <- struct{}{}:
		default: // one is asked for already
		}
	}); err != nil {
		return nil, err
	}
	var packets [][]byte
	var sound *webrtc.TrackLocalStaticSample
	if one.Sound != "" {
		if packets, err = opus(one.Sound); err != nil {
			return nil, err
		}
		sound, err = webrtc.NewTrackLocalStaticSample(
			webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", "pion")
		if err != nil {
			return nil, err
		}
		if err := one.send(sound, func() {}); err != nil {
			return nil, err
		}
	}
	return func() (map[string]interface{}, error) {
		go one.showAll(video, pictures, lost)
		if sound != nil {
			go playAll(sound, packets)
		}
		return map[string]interface{}{"pictures": len(pictures), "packets": len(packets)}, nil
	}, nil
}

// send offers a track, and reads what the other end says of it: the interceptors see it that way.
func (one *peer) send(track webrtc.TrackLocal, lost func()) error {
	transceiver, err := one.connection.AddTransceiverFromTrack(track,
		webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return err
	}
	go func() {
		for {
			packets, _, err := transceiver.Sender().ReadRTCP()
			if err != nil {
				return // the connection is over
			}
			for _, packet := range packets {
				switch packet.(type) {
				case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
					lost()
				}
			}
		}
	}()
	return nil
}

func (one *peer) showAll(
	track *webrtc.TrackLocalStaticSample, pictures []picture, lost <-chan struct{},
) {
	interval := time.Second / time.Duration(one.FPS)
	ticker := time.NewTicker(interval)
	var dropped uint16
	for shown, number := 0, 0; ; shown, number = shown+1, number+1 {
		<-ticker.C
		if one.Loses > 0 && shown%one.Loses == one.Loses-1 {
			dropped = 1 // a gap in the sequence numbers, which no retransmission fills
			continue
		}
		select {
		case <-lost:
			restarts.Add(1)
			for !pictures[number%len(pictures)].keyframe {
				number++
			}
		default:
		}
		sample := media.Sample{
			Data:               pictures[number%len(pictures)].data,
			Duration:           interval,
			PrevDroppedPackets: dropped,
		}
		dropped = 0
		if track.WriteSample(sample) != nil {
			return
		}
	}
}

func playAll(track *webrtc.TrackLocalStaticSample, packets [][]byte) {
	ticker := time.NewTicker(opusPacket)
	for number := 0; ; number++ {
		<-ticker.C
		sample := media.Sample{Data: packets[number%len(packets)], Duration: opusPacket}
		if track.WriteSample(sample) != nil {
			return
		}
	}
}

// film reads a file of Annex B, picture by picture.
func film(name string) ([]picture, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reader, err := h264reader.NewReader(file)
	if err != nil {
		return nil, err
	}
	var pictures []picture
	var now picture
	drawn := false // a slice of it was there
	for {
		unit, err := reader.NextNAL()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		slice := unit.UnitType == h264reader.NalUnitTypeCodedSliceNonIdr ||
			unit.UnitType == h264reader.NalUnitTypeCodedSliceIdr
		// The first slice of a picture begins with macroblock 0: ue(v), a single 1 bit.
		if drawn && (!slice || unit.Data[1]&0x80 != 0) {
			pictures = append(pictures, now)
			now, drawn = picture{}, false
		}
		now.data = append(append(now.data, 0, 0, 0, 1), unit.Data...)
		drawn = drawn || slice
		now.keyframe = now.keyframe || unit.UnitType == h264reader.NalUnitTypeCodedSliceIdr
	}
	if drawn {
		pictures = append(pictures, now)
	}
	if len(pictures) == 0 || !pictures[0].keyframe {
		return nil, errors.New("the film does not begin with a keyframe")
	}
	return pictures, nil
}

// opus reads the packets of a file that has one a page.
func opus(name string) ([][]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reader, _, err := oggreader.NewWith(file)
	if err != nil {
		return nil, err
	}
	var packets [][]byte
	for {
		packet, header, err := reader.ParseNextPage()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if header.GranulePosition != 0 { // zero: the comments
			packets = append(packets, packet)
		}
	}
	if len(packets) == 0 {
		return nil, errors.New("no sound in the file")
	}
	return packets, nil
}
